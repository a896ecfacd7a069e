//! What the service manager does for us: sockets that outlive the process, a watchdog that is fed, credentials.

use std::{
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixListener},
    },
    process::{Command, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    },
    thread,
};

use crate::harness::{Home, PATIENCE, SECRET, Service, post_sample};

/// The executable as systemd starts it: the socket is descriptor 3, and two variables say so.
fn with_socket(home: &Home, socket: &UnixListener) -> Command {
    let passed = OwnedFd::from(socket.try_clone().expect("a descriptor"));
    let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=door; exec \"$0\" run";
    let inner = home.command(&[]);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).arg(inner.get_program()).env_clear().stdin(Stdio::from(passed));
    command.current_dir(inner.get_current_dir().expect("a home"));
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

#[test]
fn a_restart_refuses_nobody() {
    let home = Home::new();
    home.configure("http://127.0.0.1:9/", "");
    let path = home.path("passed.sock");
    let socket = UnixListener::bind(&path).expect("a socket");
    let address = format!("unix:{}", path.display());
    let (is_over, (answered, answers)) = (AtomicBool::new(false), channel());
    let start = || Service::start(with_socket(&home, &socket));
    let mut service = start();
    assert!(service.wait_for_log("by=systemd").contains(&address));
    // It has its own beside: what `listen` says is served in any case.
    service.wait_for_log("listening address=http://127.0.0.1:");
    let mut statuses: Vec<u16> = Vec::new();
    // The service goes into the scope and comes out of it.
    let service = thread::scope(|scope| {
        for sender in 0..4 {
            let (address, is_over, answered) = (&address, &is_over, answered.clone());
            scope.spawn(move || {
                let mut salt = sender * 1_000_000;
                while !is_over.load(Ordering::Relaxed) {
                    salt += 1;
                    answered.send(post_sample(address, "push", salt).0).expect("somebody counts");
                }
            });
        }
        let mut hear = |count| statuses.extend((0..count).map(|_| answers.recv_timeout(PATIENCE).expect("an answer")));
        for _ in 0..3 {
            hear(50);
            assert!(service.terminate().success());
            // Whoever connects now waits in the kernel.
            service = start();
        }
        hear(50);
        is_over.store(true, Ordering::Relaxed);
        service
    });
    statuses.extend(answers.try_iter());
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert!(service.terminate().success());
    assert!(path.exists(), "the file is the service manager's");
    let stored = home.json(&["sql", "--json", "SELECT count(*) AS n FROM webhook_events"]);
    assert_eq!(stored[0]["n"].as_u64(), u64::try_from(statuses.len()).ok());
}

#[test]
fn a_watchdog_is_fed_from_the_start_to_the_end() {
    let home = Home::new();
    home.configure("http://127.0.0.1:9/", "");
    let manager = UnixDatagram::bind(home.path("notify")).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let mut command = home.command(&["run"]);
    command.env("NOTIFY_SOCKET", home.path("notify")).env("WATCHDOG_USEC", "150000");
    let service = Service::start(command);
    let hear = || {
        let mut word = [0; 64];
        let length = manager.recv(&mut word).expect("a word in time");
        String::from_utf8_lossy(&word[..length]).into_owned()
    };
    let mut words: Vec<String> = (0..6).map(|_| hear()).collect();
    assert!(words.contains(&"READY=1".to_owned()), "{words:?}");
    words.retain(|word| word != "READY=1");
    assert!(words.iter().all(|word| word == "WATCHDOG=1"), "{words:?}");
    assert!(service.terminate().success());
    let last = loop {
        let word = hear();
        if word != "WATCHDOG=1" {
            break word;
        }
    };
    assert_eq!(last, "STOPPING=1");
}

#[test]
fn a_watchdog_of_another_process_is_not_ours() {
    let home = Home::new();
    home.configure("http://127.0.0.1:9/", "");
    let manager = UnixDatagram::bind(home.path("notify")).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let mut command = home.command(&["run"]);
    command.env("NOTIFY_SOCKET", home.path("notify")).env("WATCHDOG_USEC", "1000").env("WATCHDOG_PID", "1");
    assert!(Service::start(command).terminate().success());
    let words: Vec<String> = (0..2)
        .map(|_| {
            let mut word = [0; 64];
            let length = manager.recv(&mut word).expect("a word in time");
            String::from_utf8_lossy(&word[..length]).into_owned()
        })
        .collect();
    assert_eq!(words, ["READY=1", "STOPPING=1"]);
}

#[test]
fn a_credential_is_found_by_its_name_or_its_folder_s_or_beside_the_configuration() {
    let home = Home::new();
    let text =
        "[sources.github]\nsecret = { credential = \"github\" }\n[sinks.bell]\n[door]\nlisten = \"127.0.0.1:0\"\n";
    std::fs::write(home.path("hookbell.toml"), text).expect("the configuration is written");
    let check = |directory: Option<&str>| {
        let mut command = home.command(&["check"]);
        command.env_remove("GITHUB_WEBHOOK_SECRET");
        if let Some(directory) = directory {
            command.env("CREDENTIALS_DIRECTORY", home.path(directory));
        }
        let output = command.output().expect("the executable starts");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (folder, file) in [("given", "github"), ("loaded", "secrets_github"), ("secrets", "github")] {
        std::fs::create_dir(home.path(folder)).expect("a folder");
        if folder == "secrets" {
            let (is_fine, why) = check(None);
            assert!(!is_fine && why.contains("no credential `github`") && why.contains("secrets/github"), "{why}");
        }
        std::fs::write(home.path(folder).join(file), SECRET).expect("a secret");
    }
    for directory in [Some("given"), Some("loaded"), None] {
        let (is_fine, why) = check(directory);
        assert!(is_fine, "{directory:?}: {why}");
    }
    std::fs::create_dir(home.path("empty")).expect("a folder");
    let (is_fine, why) = check(Some("empty"));
    assert!(!is_fine && why.contains("systemd provides no credential `github`"), "{why}");
}

#[test]
fn a_check_knows_what_the_service_s_file_of_variables_has() {
    let home = Home::new();
    let text = "[sources.github]\nsecret = { env = \"THEIRS\" }\n[sinks.bell]\n[door]\nlisten = \"127.0.0.1:0\"\n";
    std::fs::write(home.path("hookbell.toml"), text).expect("the configuration is written");
    assert_eq!(home.run(&["check"]).status.code(), Some(78));
    std::fs::write(home.path("hookbell.env"), format!("# for systemd\nTHEIRS = \"{SECRET}\"\n")).expect("written");
    let output = home.run(&["check"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
