//! `scripts/tunnel`, with a cloudflared, a systemctl and a curl of our own: what it would do to a Pi, done to a folder.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::harness::{Home, measured, slack::Slack};

const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";

/// Keeps tunnels, names and the login as files, and notes what it was asked.
const CLOUDFLARED: &str = r#"#!/bin/sh
state=$STATE
echo "cloudflared $*" >>"$state/calls"
case "$*" in
"tunnel login") mkdir -p "$HOME/.cloudflared" && echo cert >"$HOME/.cloudflared/cert.pem" ;;
"tunnel list --name hookbell --output json")
    if [ -e "$state/tunnel" ]; then
        printf '[\n  {\n    "id": "01234567-89ab-cdef-0123-456789abcdef",\n    "name": "hookbell",\n    "connections": [{"id": "ffffffff-89ab-cdef-0123-456789abcdef"}]\n  }\n]\n'
    else
        echo null
    fi
    ;;
"tunnel create hookbell")
    touch "$state/tunnel"
    echo '{"TunnelSecret":"x"}' >"$HOME/.cloudflared/01234567-89ab-cdef-0123-456789abcdef.json"
    ;;
"tunnel token --cred-file "*) echo '{"TunnelSecret":"x"}' >"$4" ;;
"tunnel route dns --overwrite-dns "*) rm -f "$state/taken" ;;
"tunnel route dns "*)
    if [ -e "$state/taken" ]; then
        echo "ERR Failed to add route: code: 1003, An A, AAAA, or CNAME record with that host already exists." >&2
        exit 1
    fi
    ;;
*"tunnel ingress validate") echo OK ;;
*"tunnel ingress rule "*) echo "Matched rule #0" ;;
*"service install") mkdir -p "$state/root/etc/systemd/system" && touch "$state/root/etc/systemd/system/cloudflared.service" ;;
*) echo "what is $*?" >&2; exit 2 ;;
esac
"#;

const SYSTEMCTL: &str = r#"#!/bin/sh
echo "systemctl $*" >>"$STATE/calls"
case "$1" in cat) exit 1 ;; esac
"#;

/// cloudflared's metrics, and the world.
const CURL: &str = r#"#!/bin/sh
for url; do :; done
echo "curl $url" >>"$STATE/calls"
case "$url" in
http://127.0.0.1:20241/ready)
    [ ! -e "$STATE/down" ] || exit 7
    echo '{"status":200,"readyConnections":4}'
    ;;
https://hooks.acme.dev/health) echo '{"status":"healthy"}' ;;
*) exit 6 ;;
esac
"#;

/// A machine that has these three and our own program.
fn machine() -> Home {
    let home = Home::new();
    home.configure(&Slack::start().url, "");
    for (name, text) in [("cloudflared", CLOUDFLARED), ("systemctl", SYSTEMCTL), ("curl", CURL)] {
        let file = home.path("bin").join(name);
        fs::create_dir_all(home.path("bin")).expect("a folder");
        fs::write(&file, text).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("executable");
    }
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_hookbell"), home.path("bin/hookbell")).expect("a link");
    home
}

fn script(home: &Home, arguments: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/tunnel");
    let mut command = Command::new("bash");
    command.arg(script).args(["--root"]).arg(home.path("root")).args(arguments).stdin(Stdio::null());
    command.env_clear().env("PATH", format!("{}:/usr/bin:/bin", home.path("bin").display()));
    measured(&mut command);
    command.env("HOME", home.path("home")).env("STATE", home.path("")).env("HOOKBELL_TUNNEL_WAIT", "1");
    command.env("HOOKBELL_CONFIG", home.path("hookbell.toml"));
    command.env("GITHUB_WEBHOOK_SECRET", "x").env("SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/T/B/x");
    fs::create_dir_all(home.path("home")).expect("a folder");
    command.output().expect("bash")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn calls(home: &Home) -> String {
    fs::read_to_string(home.path("calls")).unwrap_or_default()
}

#[test]
fn from_nothing_to_a_webhook_url_and_a_second_run_changes_nothing() {
    let home = machine();
    let arguments = ["--yes", "--hostname", "hooks.acme.dev"];
    let output = script(&home, &arguments);
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    for call in [
        "cloudflared tunnel login\n",
        "cloudflared tunnel create hookbell\n",
        &format!("cloudflared tunnel route dns {ID} hooks.acme.dev\n"),
        "etc/cloudflared/config.yml tunnel ingress validate\n",
        "etc/cloudflared/config.yml service install\n",
    ] {
        assert!(calls(&home).contains(call), "{call}: {}", calls(&home));
    }
    let config = fs::read_to_string(home.path("root/etc/cloudflared/config.yml")).expect("written");
    for line in [
        format!("tunnel: {ID}"),
        format!("credentials-file: /etc/cloudflared/{ID}.json"),
        "  - hostname: hooks.acme.dev".to_owned(),
        "    path: ^/(webhooks?/.*|health)$".to_owned(),
        // The door of this configuration, not the packaged one.
        "    service: http://127.0.0.1:0".to_owned(),
        "protocol: http2".to_owned(),
    ] {
        assert!(config.lines().any(|found| found == line), "{line}: {config}");
    }
    let key = fs::metadata(home.path(&format!("root/etc/cloudflared/{ID}.json"))).expect("the key");
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    assert!(text.contains("connected: {\"status\":200,\"readyConnections\":4}"), "{text}");
    assert!(text.contains("https://hooks.acme.dev/health answers: the world reaches hookbell"), "{text}");
    assert!(text.contains("    github       https://hooks.acme.dev/webhooks/github\n"), "{text}");
    assert!(text.contains("    public_url = \"https://hooks.acme.dev\"\n"), "{text}");

    // Repairs: there is nothing to repair, and the host name is known.
    fs::remove_file(home.path("calls")).expect("it was there");
    let output = script(&home, &["--yes"]);
    let text = said(&output);
    assert!(output.status.success() && text.contains("It says already what it should."), "{text}");
    for done_once in ["login", "create", "service install"] {
        assert!(!calls(&home).contains(done_once), "{done_once}: {}", calls(&home));
    }
    assert!(calls(&home).contains("systemctl restart cloudflared\n"), "{}", calls(&home));
    assert_eq!(fs::read_to_string(home.path("root/etc/cloudflared/config.yml")).expect("kept"), config);
}

#[test]
fn what_is_there_is_kept_as_a_backup_and_a_tunnel_from_elsewhere_is_taken() {
    let home = machine();
    let folder = home.path("root/etc/cloudflared");
    fs::create_dir_all(&folder).expect("a folder");
    fs::create_dir_all(home.path("home/.cloudflared")).expect("a folder");
    fs::write(home.path("home/.cloudflared/cert.pem"), "cert").expect("written");
    fs::write(home.path("tunnel"), "").expect("made elsewhere");
    fs::write(folder.join("config.yml"), "tunnel: old\ningress:\n  - hostname: old.acme.dev\n").expect("written");
    let output = script(&home, &["--yes", "--hostname", "hooks.acme.dev"]);
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    assert!(calls(&home).contains("cloudflared tunnel token --cred-file ") && !calls(&home).contains("create"));
    assert!(
        text.contains("    -  - hostname: old.acme.dev") && text.contains("    +  - hostname: hooks.acme.dev"),
        "{text}"
    );
    let kept = fs::read_dir(&folder).expect("a folder").filter_map(Result::ok).map(|entry| entry.path());
    let kept: Vec<String> = kept
        .filter(|path| path.to_string_lossy().contains("config.yml.2"))
        .map(|path| fs::read_to_string(path).expect("a backup"))
        .collect();
    assert_eq!(kept, ["tunnel: old\ningress:\n  - hostname: old.acme.dev\n"]);
}

#[test]
fn nothing_is_changed_dry_and_nothing_is_taken_from_anybody() {
    let home = machine();
    let output = script(&home, &["--dry-run", "--hostname", "hooks.acme.dev"]);
    let text = said(&output);
    assert!(output.status.success() && text.contains("+ cloudflared tunnel create hookbell"), "{text}");
    assert!(calls(&home).lines().all(|call| call.starts_with("systemctl cat ")), "{}", calls(&home));
    assert!(!home.path("root").exists() && !home.path("home/.cloudflared").exists());

    // A record of that name that leads elsewhere stays, unless somebody says so.
    fs::write(home.path("taken"), "").expect("written");
    let output = script(&home, &["--yes", "--hostname", "hooks.acme.dev"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("--overwrite-dns") && home.path("taken").exists(), "{}", said(&output));
}

#[test]
fn what_cannot_be_is_said_with_its_remedy() {
    let home = machine();
    let wrong = |arguments: &[&str], says: &str| {
        let output = script(&home, arguments);
        let text = said(&output);
        assert!(output.status.code() == Some(1) && text.contains(says), "{arguments:?}: {text}");
    };
    wrong(&["--yes"], "--hostname hooks.example.com");
    wrong(&["--hostname", "hooks.acme.dev"], "Type it in a terminal, or with --yes.");
    for name in ["https://hooks.acme.dev", "hooks", "Hooks.acme.dev", "hooks.acme.dev/x", "a b.dev", ""] {
        wrong(&["--yes", "--hostname", name], if name.is_empty() { "no host name" } else { "is not a host name" });
    }
    wrong(&["--yes", "--hostname", "hooks.acme.dev", "--name", "a b"], "will not do as a tunnel's name");
    wrong(&["--what"], "--help");
    fs::write(home.path("down"), "").expect("written");
    wrong(&["--yes", "--hostname", "hooks.acme.dev"], "journalctl -u cloudflared");
    fs::remove_file(home.path("bin/cloudflared")).expect("it was there");
    if !Path::new("/usr/bin/cloudflared").exists() {
        wrong(&["--yes"], "sudo apt-get update && sudo apt-get install cloudflared");
    }
    let help = said(&script(&home, &["--help"]));
    assert!(help.starts_with("scripts/tunnel [--name NAME]") && help.contains("--dry-run"), "{help}");
}
