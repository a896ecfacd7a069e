//! What measuring and attacking have in common: a service in a process of its own, what the kernel knows about that
//! process, and requests as a sender signs them. No part of the program.

pub mod process;
pub mod request;
pub mod service;
