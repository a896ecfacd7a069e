//! One binary for every test of the whole: the real executable, a real SQLite file, real sockets.

mod harness;
#[expect(unreachable_pub, reason = "a part of the fuzzer's library")]
#[path = "../../fuzz/src/keys.rs"]
mod keys;

mod addresses;
mod again;
mod breaker;
mod canary;
mod commands;
mod crash;
mod damage;
mod desk;
mod doctor;
mod faults;
mod github_poll;
mod github_recover;
mod github_register;
mod github_rotate;
mod github_stand_in;
mod interface;
mod invariants;
mod main_job;
mod manager;
mod panel;
mod payloads;
mod providers;
mod recover_gitlab;
mod recover_stripe;
mod rules;
mod secrets;
mod storage;
mod threads;
mod tunnel;
mod tunnel_script;
mod way_out;
