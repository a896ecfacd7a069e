//! The readers of `http` under any bytes: what holds for every stream (`properties`), and the fuzzer's kept corpus run
//! through its checks without the fuzzer (`corpus`). Both use the checks of `fuzz/src`, so that a property is stated once.

#[expect(unreachable_pub, reason = "a library to the fuzzer's targets")]
#[path = "../../fuzz/src/lib.rs"]
mod fuzz;
#[expect(dead_code, unreachable_pub, reason = "a program to scripts/fuzz")]
#[path = "../../fuzz/pack.rs"]
mod pack;

mod corpus;
mod properties;
mod server;
mod streams;
