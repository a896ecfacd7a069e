//! Secrets that wait to follow others.

use std::os::unix::fs::PermissionsExt;

use super::*;

struct Home(tempfile::TempDir);

impl Home {
    fn new(files: &[(&str, &str)]) -> Home {
        let home = Home(tempfile::tempdir().unwrap());
        files.iter().for_each(|(name, text)| home.write(name, text));
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn load(&self, secret: &str, variables: &[(&str, &str)]) -> Loaded {
        self.write("hookbell.toml", &format!("[sources.github]\nsecret = {secret}\n[sinks.bell]\n"));
        load(Some(&self.path("hookbell.toml")), &surroundings(variables)).unwrap_or_else(|failure| panic!("{failure}"))
    }
}

fn secrets(loaded: &Loaded) -> Vec<&str> {
    loaded.settings.sources["github"].terms.secrets.iter().map(Secret::expose).collect()
}

fn rotation(loaded: &Loaded) -> &Rotation {
    loaded.settings.sources["github"].origins.rotation()
}

#[test]
fn what_waits_beside_a_file_is_accepted_after_it() {
    let home = Home::new(&[("a.secret", "a\n"), ("b.secret", "b\n"), ("a.secret.next", "c\n")]);
    let loaded = home.load("[{ file = \"a.secret\" }, { file = \"b.secret\" }]", &[]);
    assert_eq!(secrets(&loaded), ["a", "c", "b"]);
    assert_eq!(rotation(&loaded), &Rotation::Several);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);

    let loaded = home.load("{ file = \"a.secret\" }", &[]);
    let (path, next) = (home.path("a.secret"), home.path("a.secret.next"));
    assert_eq!(secrets(&loaded), ["a", "c"]);
    assert_eq!(rotation(&loaded), &Rotation::File { path, next: next.clone() });
    let note = format!("source github: a new secret waits in {}: both are accepted", next.display());
    assert_eq!(notes(&loaded.settings), [note.as_str()]);
    assert!(effective(&loaded.settings).contains(&format!("\n# {note}\n")), "{}", effective(&loaded.settings));

    // Neither one that is about to be written nor the same once more.
    for nothing in ["", "\n", "a"] {
        home.write("a.secret.next", nothing);
        let loaded = home.load("{ file = \"a.secret\" }", &[]);
        assert_eq!((secrets(&loaded), notes(&loaded.settings)), (vec!["a"], vec![]), "{nothing:?}");
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    }
}

#[test]
fn a_credential_to_come_stands_where_the_present_one_does() {
    let credential = "{ credential = \"github\" }";
    let stored = Rotation::Credential { stored: "secrets/github".into(), next: "secrets/github.next".into() };
    let place = |home: &Home| match &stored {
        Rotation::Credential { stored, next } => {
            Rotation::Credential { stored: home.0.path().join(stored), next: home.0.path().join(next) }
        }
        _ => unreachable!(),
    };
    // As stored, for whoever is not started by systemd.
    let home = Home::new(&[("secrets/github", "a"), ("secrets/github.next", "b")]);
    let loaded = home.load(credential, &[]);
    assert_eq!((secrets(&loaded), rotation(&loaded)), (vec!["a", "b"], &place(&home)));
    // Each for itself, and as systemd calls those of a whole folder.
    for files in [
        [("run/github", "c"), ("run/github.next", "d")],
        [("run/secrets_github", "c"), ("run/secrets_github.next", "d")],
    ] {
        let home = Home::new(&files);
        let loaded = home.load(credential, &[("CREDENTIALS_DIRECTORY", home.path("run").to_str().unwrap())]);
        assert_eq!((secrets(&loaded), rotation(&loaded)), (vec!["c", "d"], &place(&home)));
    }
}

#[test]
fn a_variable_has_nothing_beside_it() {
    let home = Home::new(&[("GITHUB_WEBHOOK_SECRET.next", "b")]);
    let loaded = home.load("{ env = \"GITHUB_WEBHOOK_SECRET\" }", &[("GITHUB_WEBHOOK_SECRET", "a")]);
    assert_eq!(secrets(&loaded), ["a"]);
    assert_eq!(rotation(&loaded), &Rotation::Variable("GITHUB_WEBHOOK_SECRET".to_owned()));
    let nothing = surroundings(&[]);
    let loaded = load_without_secrets(Some(&home.path("hookbell.toml")), &nothing).unwrap();
    assert_eq!(rotation(&loaded), &Rotation::Variable("GITHUB_WEBHOOK_SECRET".to_owned()));
}

#[test]
fn one_that_will_not_do_is_a_warning() {
    let home = Home::new(&[("a", "a"), ("a.next", "b")]);
    fs::set_permissions(home.path("a.next"), fs::Permissions::from_mode(0o644)).unwrap();
    let loaded = home.load("{ file = \"a\" }", &[]);
    assert_eq!(secrets(&loaded), ["a", "b"]);
    let warning = &loaded.warnings[0];
    assert!(warning.what.starts_with("everybody on this machine can read"), "{warning}");
    assert_eq!(warning.hint.as_deref(), Some(&*format!("chmod 600 {}", home.path("a.next").display())));

    fs::remove_file(home.path("a.next")).unwrap();
    fs::create_dir(home.path("a.next")).unwrap();
    let loaded = home.load("{ file = \"a\" }", &[]);
    let warnings: Vec<String> = loaded.warnings.iter().map(Problem::to_string).collect();
    assert_eq!(secrets(&loaded), ["a"]);
    assert!(warnings[0].contains("cannot read the secret in") && warnings[0].contains("a.next: it is no file"));
    assert_eq!(loaded.settings.sources["github"].origins.faults().len(), 1);

    // `forward` signs with all of its secrets: it knows nothing of those that wait.
    let home = Home::new(&[("a", SIGNING_KEY), ("a.next", SIGNING_KEY)]);
    home.write(
        "hookbell.toml",
        "[sinks.forward]\nkind = \"forward\"\nurl = \"https://a.b\"\nsecret = { file = \"a\" }",
    );
    let loaded = load(Some(&home.path("hookbell.toml")), &both()).unwrap_or_else(|failure| panic!("{failure}"));
    let SinkKind::Forward(forward) = &loaded.settings.sinks["forward"].kind else { panic!("it is one") };
    assert_eq!(forward.secrets.len(), 1);
}
