//! One binary for every test of the whole: the real executable, a real SQLite file, real sockets.

mod harness;

mod commands;
mod crash;
mod faults;
mod invariants;
mod main_job;
mod payloads;
