//! The same service on tiny_http, the way its documentation shows: what every case is compared with.

use std::{
    io::{self, Read},
    path::Path,
    process::Command,
    sync::Arc,
    thread,
};

use hookbell_bench::service::Service;

/// What turns this program into that server.
pub(crate) const ARGUMENT: &str = "--serve-tiny-http";

/// What a delivery may measure: as much as hookbell grants.
const BODY_BYTES_MAX: u64 = 25 << 20;

/// Serves until it is killed.
pub(crate) fn serve() -> io::Result<()> {
    let server = tiny_http::Server::http("127.0.0.1:0").map_err(io::Error::other)?;
    eprintln!("listening {}", server.server_addr());
    let server = Arc::new(server);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let server = Arc::clone(&server);
            thread::spawn(move || {
                while let Ok(mut request) = server.recv() {
                    let status = if request.url() == "/webhooks/github" {
                        // A receiver has to read what it would verify.
                        let _ = request.as_reader().take(BODY_BYTES_MAX).read_to_end(&mut Vec::new());
                        200
                    } else {
                        404
                    };
                    // Whoever is gone is not answered.
                    let _ = request.respond(tiny_http::Response::empty(status));
                }
            })
        })
        .collect();
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

/// Starts one as a process of its own.
pub(crate) fn start(this_program: &Path) -> io::Result<Service> {
    let mut command = Command::new(this_program);
    // Writing a backtrace would count as its memory.
    command.arg(ARGUMENT).env_remove("RUST_BACKTRACE");
    Service::start(command, |line| line.strip_prefix("listening ")?.trim().parse().ok())
}
