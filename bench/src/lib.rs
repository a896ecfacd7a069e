//! What measuring, attacking and doing harm have in common: a service in a process of its own, what the kernel knows about that
//! process, requests as a sender signs them, and a load of them. No part of the program.

pub mod answer;
pub mod desk;
pub mod disk;
#[cfg(target_os = "linux")]
pub mod faulty;
pub mod finding;
pub mod first_edge;
pub mod load;
pub mod machine;
pub mod process;
pub mod push;
pub mod request;
pub mod scene;
pub mod sender;
pub mod service;
pub mod slack;
pub mod stage;
pub mod wire;
