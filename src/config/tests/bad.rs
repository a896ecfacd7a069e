//! One bad snippet per rule, and how problems are told.

use super::*;

#[test]
fn every_rule_has_a_bad_snippet() {
    let deep = "[sources.github]\nsecret = { env = \"GITHUB_WEBHOOK_SECRET\"";
    let forward = |more: &str| format!("[sinks.forward]\nsecret = {{ env = \"SIGNING_KEY\" }}\n{more}");
    let email = |more: &str| format!("[sinks.email]\nfrom = \"a@b.c\"\nto = [\"a@b.c\"]\n{more}");
    let table: &[(&str, &str, &str)] = &[
        // Unknown keys, at every level.
        ("[dor]", "dor", "unknown key `dor`; did you mean `door`?"),
        ("listen = 1", "listen", "unknown key `listen`; known: door, store"),
        ("[door]\nlissten = \"\"", "door.lissten", "unknown key `door.lissten`; did you mean `listen`?"),
        ("[sinks.slack]\nurl = 1", "sinks.slack.url", "unknown key"),
        ("[sinks.bell]\nwebhook_url = 1", "sinks.bell.webhook_url", "unknown key"),
        ("[sinks.bell.retry]\nfisrt = 1", "sinks.bell.retry.fisrt", "did you mean `first`?"),
        (&format!("{deep}, fil = 1 }}"), "sources.github.secret.fil", "did you mean `file`?"),
        ("[[rules]]\nwhn = {}", "rules[0].whn", "did you mean `when`?"),
        ("[bell]\nleds = { red = { pin = 1, activ_low = true } }", "bell.leds.red.activ_low", "`active_low`?"),
        ("[cues.x]\nblink = { onms = 1 }", "cues.x.blink.onms", "did you mean `on_ms`?"),
        // Types.
        ("door = 1", "door", "expected a table, found a whole number"),
        ("[door]\nlisten = 5000", "door.listen", "expected a text in quotes, found a whole number"),
        ("rules = {}", "rules", "expected a list, found a table; rules are written as [[rules]]"),
        // The door.
        ("[door]\nlisten = \"5000\"", "door.listen", "`5000` is not an address and port"),
        ("[door]\nlisten = \"unix:\"", "door.listen", "the path of the socket is missing"),
        ("[door]\nbody_max = \"101 MiB\"", "door.body_max", "101 MiB is outside 1 B to 100 MiB"),
        ("[door]\nbody_max = \"many\"", "door.body_max", "`many` is not a size; write a whole number and a unit"),
        ("[door]\nbody_max = -1", "door.body_max", "cannot be less than zero"),
        ("[door]\nhead_deadline = \"0 s\"", "door.head_deadline", "0 ms is outside 1 ms to 1 h"),
        ("[door]\nrequest_deadline = 20", "door.request_deadline", "a duration needs a unit; write \"20 s\""),
        ("[door]\nrequest_deadline = \"1 s\"", "door.request_deadline", "longer than the whole request with 1 s"),
        ("[door]\nconnections_max = 0", "door.connections_max", "0 is outside 1 to 4096"),
        ("[door]\nconnections_max = 4097", "door.connections_max", "4097 is outside 1 to 4096"),
        ("[door]\nbodies_in_flight_max = 1", "door.bodies_in_flight_max", "less than `body_max` (25 MiB)"),
        ("[door]\ntrusted_proxies = [\"10.0.0.0/8\"]", "door.trusted_proxies[0]", "is not an IP address"),
        ("[door]\npublic_url = \"http://example.com\"", "door.public_url", "plain http is for this machine only"),
        ("[door]\npublic_url = \"https://a.b/webhooks/github\"", "door.public_url", "the part before /webhooks/"),
        // The store.
        ("[store]\nkeep = \"ever\"", "store.keep", "`ever` is not a duration; write a whole number and a unit"),
        ("[store]\nkeep = \"0 s\"", "store.keep", "0 ms is outside"),
        ("[store]\npath = \"\"", "store.path", "the path is empty"),
        ("[store]\nsize_max = 1", "store.size_max", "1 B is outside 1 MiB to"),
        // Sources.
        ("[sources]", "sources", "no source, so nothing could ever arrive"),
        ("[sources.x]", "sources.x", "`x` does not say whose webhooks it takes; add provider"),
        (
            "[sources.x]\nprovider = \"githb\"",
            "sources.x.provider",
            "no provider is called `githb`; did you mean `github`?",
        ),
        ("[sources._self]", "sources._self", "names that begin with `_` are hookbell's own"),
        ("[sources.\"a b\"]", "sources.\"a b\"", "`a b` will not do as a name"),
        ("[sources.github]\npoll = [\"acme\"]", "sources.github.poll[0]", "a repository is OWNER/NAME"),
        ("[sources.github]\npoll = [\"a/b/c\"]", "sources.github.poll[0]", "is neither OWNER/REPOSITORY nor"),
        ("[sources.github]\npoll = [\"a/b\", \"A/B\"]", "sources.github.poll", "A/B is there twice"),
        ("[sources.gitlab]\npoll = [\"a/b\"]", "sources.gitlab.poll", "only repositories at GitHub are watched"),
        ("[sources.github]\npoll_every = \"5 min\"", "sources.github.poll_every", "nothing is watched"),
        (
            "[sources.github]\npoll = [\"a/b\"]\npoll_every = \"5 s\"",
            "sources.github.poll_every",
            "is outside 1 min to",
        ),
        (
            "[sources.github]\npoll = [\"a/b\"]\n[sources.github.recover]\nhooks = [\"a\"]\ntoken = { env = \"GITHUB_WEBHOOK_SECRET\" }",
            "sources.github.poll",
            "has a webhook by `recover.hooks`",
        ),
        ("[sources.github]\nallow_from = [\"10.0.0.0/33\"]", "sources.github.allow_from[0]", "is not a network"),
        (
            "[sources.github]\nallow_from = \"githb\"",
            "sources.github.allow_from",
            "expected a list of networks, or \"github\", found a text",
        ),
        ("[sources.x]\nprovider = \"paypal\"", "sources.x.provider", "PayPal is not supported: it proves with"),
        ("[sources.paypal]", "sources.paypal", "PayPal is not supported: it proves with certificates"),
        (
            "[door]\npublic_url = \"http://a.example\"\n[sources.square]\nsecret = { env = \"GITHUB_WEBHOOK_SECRET\" }",
            "door.public_url",
            "plain http is for this machine only",
        ),
        (
            "[sources.square]\nsecret = { env = \"GITHUB_WEBHOOK_SECRET\" }",
            "sources.square",
            "square signs the address that it calls, and `public_url` does not tell it",
        ),
        (
            "[sources.sendgrid]\nsecret = { env = \"GITHUB_WEBHOOK_SECRET\" }",
            "sources.sendgrid.secret",
            "it is not SendGrid's verification key",
        ),
        ("[sources.github]\nrepeats = \"never\"", "sources.github.repeats", "none of the choices; known: limit"),
        // Secrets.
        (
            "[sources.github]\nsecret = \"hunter2\"",
            "sources.github.secret",
            "secrets are never values in this file; write { env",
        ),
        ("[sources.github]\nsecret = { env = \"NOPE\" }", "sources.github.secret", "NOPE is not set, so no request"),
        ("[sources.github]\nsecret = []", "sources.github.secret", "0 secrets; there must be 1 to 8"),
        ("[sources.github]\nsecret = {}", "sources.github.secret", "exactly one of `env`, `file` and `credential`"),
        (&format!("{deep}, file = \"x\" }}"), "sources.github.secret", "exactly one of"),
        (
            "[sources.github]\nsecret = { file = \"absent\" }",
            "sources.github.secret",
            "secret in /etc/hookbell/absent: No such file",
        ),
        (
            "[sources.github]\nsecret = { credential = \"x\" }",
            "sources.github.secret",
            "there is no credential `x`: no /etc/hookbell/secrets/x; put it into /etc/hookbell/secrets/x and restart",
        ),
        (
            "[sources.github]\nsecret = { credential = \"../x\" }",
            "sources.github.secret.credential",
            "a name, not a path",
        ),
        // Sinks.
        ("[sinks.x]", "sinks.x", "`x` does not say what it is; add kind"),
        ("[sinks.x]\nkind = \"slak\"", "sinks.x.kind", "did you mean `slack`?"),
        ("[sinks.slack]\ntoken = { env = \"T\" }", "sinks.slack", "`channel` is missing"),
        ("[sinks.slack]\nthreads = true", "sinks.slack", "add channel = \"#name\""),
        ("[sinks.slack]\nchannel = \"dev\"", "sinks.slack.channel", "`dev` is not a channel; write \"#name\""),
        ("[sinks.slack]\nchannel = \"#dev\"\nthreads = 1", "sinks.slack.threads", "expected true or false"),
        ("[sinks.slack]\nchannel = \"#dev\"\napi = \"http://slack.com/api\"", "sinks.slack.api", "use https"),
        ("[sinks.forward]\nsecret = { env = \"SIGNING_KEY\" }", "sinks.forward", "`url` is missing; write url = "),
        ("[sinks.forward]\nurl = \"https://x.example\"", "sinks.forward", "`secret` is missing; write secret = "),
        (
            &forward("url = \"http://x.example\""),
            "sinks.forward.url",
            "plain http is for private addresses; use https; for a receiver",
        ),
        (
            &forward("url = \"https://10.0.0.1/\""),
            "sinks.forward.url",
            "10.0.0.1 is not a public address; for a receiver",
        ),
        (&forward("url = \"http://localhost:9/\""), "sinks.forward.url", "127.0.0.1 is not a public address"),
        (&forward("url = \"ftp://x.example\""), "sinks.forward.url", "must begin with https://"),
        (
            &forward("url = \"http://1.1.1.1/\"\nallow_private = true"),
            "sinks.forward.url",
            "plain http to 1.1.1.1, which is a public address",
        ),
        (
            "[sinks.forward]\nurl = \"https://x.example\"\nsecret = { env = \"GITHUB_WEBHOOK_SECRET\" }",
            "sinks.forward.secret",
            "the secret must be base64",
        ),
        (&forward("url = \"https://x.example\"\norder = \"some\""), "sinks.forward.order", "none of the choices"),
        (&forward("url = \"https://x.example\"\nconcurrency = 17"), "sinks.forward.concurrency", "outside 1 to 16"),
        (
            &forward("url = \"https://x.example\"\nconcurrency = 2\norder = \"all\""),
            "sinks.forward.concurrency",
            "2 at once cannot keep the order of all",
        ),
        (
            &forward("url = \"https://x.example\"\nbacklog_digest_at = 2"),
            "sinks.forward.backlog_digest_at",
            "unknown key",
        ),
        ("[sinks.bell]\nconcurrency = 2", "sinks.bell.concurrency", "unknown key"),
        ("[sinks.exec]", "sinks.exec", "`command` is missing; write command = "),
        ("[sinks.exec]\ncommand = \"/bin/true\"", "sinks.exec.command", "expected a list, found a text"),
        ("[sinks.exec]\ncommand = []", "sinks.exec.command", "the list is empty"),
        ("[sinks.exec]\ncommand = [\"notify\"]", "sinks.exec.command", "`notify` is not an absolute path; there is no"),
        ("[sinks.exec]\ncommand = [\"/bin/true\", 1]", "sinks.exec.command", "expected a text in quotes"),
        (
            "[sinks.exec]\ncommand = [\"/bin/true\"]\ntime_limit = \"11 min\"",
            "sinks.exec.time_limit",
            "11 min is outside",
        ),
        (
            "[sinks.discord]\nwebhook_url = { env = \"GITHUB_WEBHOOK_SECRET\" }",
            "sinks.discord.webhook_url",
            "not a whole URL",
        ),
        ("[sinks.discord]\nwebhook_url = \"https://x\"", "sinks.discord.webhook_url", "secrets are never values"),
        ("[sinks.ntfy]", "sinks.ntfy", "`topic` is missing; write topic = "),
        ("[sinks.ntfy]\ntopic = \"a b\"", "sinks.ntfy.topic", "`a b` is not a topic"),
        ("[sinks.ntfy]\ntopic = \"a\"\nurl = \"https://ntfy.sh/a\"", "sinks.ntfy.url", "the server alone goes here"),
        ("[sinks.ntfy]\ntopic = \"a\"\nurl = \"http://ntfy.lan\"", "sinks.ntfy.url", "plain http is for this machine"),
        ("[sinks.ntfy]\ntopic = \"a\"\ntoken = \"tk_x\"", "sinks.ntfy.token", "secrets are never values"),
        (&email("smtp = \"mail.example.com\""), "sinks.email.smtp", "is not a mail server; write smtp = "),
        (&email("smtp = \"smtp://u:p@x\""), "sinks.email.smtp", "a user does not stand in the address"),
        (&email(""), "sinks.email", "`smtp` is missing; write smtp = "),
        (&email("smtp = \"smtps://x\"\nuser = \"u\""), "sinks.email.user", "`user` without `password`"),
        (
            &email("smtp = \"smtps://x\"\npassword = { env = \"SIGNING_KEY\" }"),
            "sinks.email.password",
            "`password` without `user`",
        ),
        (&email("smtp = \"smtps://x\"\nuser = \"u\"\npassword = \"p\""), "sinks.email.password", "never values"),
        (
            "[sinks.email]\nsmtp = \"smtps://x\"\nfrom = \"a\"\nto = [\"a@b.c\"]",
            "sinks.email.from",
            "is not an email address",
        ),
        ("[sinks.email]\nsmtp = \"smtps://x\"\nfrom = \"a@b.c\"\nto = []", "sinks.email.to", "0 recipients"),
        (
            "[sinks.email]\nsmtp = \"smtps://x\"\nfrom = \"a@b.c\"\nto = [\"a@b.c\", \"d\"]",
            "sinks.email.to[1]",
            "`d` is not an email address",
        ),
        (
            "[sinks.slack]\nchannel = \"#dev\"\ntoken = { env = \"GITHUB_WEBHOOK_SECRET\" }",
            "sinks.slack.token",
            "not the token of a bot; copy the Bot User OAuth Token, which begins with xoxb-",
        ),
        (
            "[sinks.slack]\nchannel = \"#dev\"\ntoken = { env = \"SLACK_WEBHOOK_URL\" }",
            "sinks.slack.token",
            "this is a URL; `webhook_url`",
        ),
        (
            "[sinks.slack]\nwebhook_url = { env = \"SLACK_WEBHOOK_URL\" }\nchannel = \"#dev\"",
            "sinks.slack.channel",
            "posts to the channel that it was made for",
        ),
        (
            "[sinks.slack]\nwebhook_url = { env = \"SLACK_WEBHOOK_URL\" }\ntoken = { env = \"T\" }",
            "sinks.slack.token",
            "`webhook_url` and `token` are two ways",
        ),
        (
            "[sinks.slack]\nwebhook_url = { env = \"GITHUB_WEBHOOK_SECRET\" }",
            "sinks.slack.webhook_url",
            "not a whole URL",
        ),
        ("[sinks.slack]\nwebhook_url = \"https://x\"", "sinks.slack.webhook_url", "secrets are never values"),
        // Retry.
        ("[retry]\nfactor = 0.5", "retry.factor", "0.5 is outside 1 to 100"),
        ("[retry]\nfactor = nan", "retry.factor", "NaN is outside"),
        ("[retry]\njitter = 1.5", "retry.jitter", "1.5 is outside 0 to 1"),
        ("[retry]\nfirst = \"0 s\"", "retry.first", "is outside"),
        ("[retry]\ncap = \"1 s\"", "retry.cap", "the longest wait (1 s) is shorter than the first (5 s)"),
        // Rules.
        ("[[rules]]\nto = [\"slak\"]", "rules[0].to[0]", "no sink is called `slak`; did you mean `slack`?"),
        ("[[rules]]\nwhen = { kind = [] }", "rules[0].when.kind", "an empty list can never match"),
        ("[[rules]]\nwhen = { kind = \"\" }", "rules[0].when.kind", "an empty pattern can never match"),
        ("[[rules]]\nwhen = { source = \"gitlab\" }", "rules[0].when.source", "`gitlab` can never match a source"),
        ("[[rules]]\nwhen = { provider = [\"x*\"] }", "rules[0].when.provider[0]", "`x*` can never match a provider"),
        ("[[rules]]\nwhen = { severity = \"eror\" }", "rules[0].when.severity", "can never match a severity"),
        (
            "[[rules]]\nunless = { drft = true }",
            "rules[0].unless.drft",
            "no event has a field `drft`; did you mean `draft`?",
        ),
        ("[[rules]]\nseverity = \"eror\"", "rules[0].severity", "`eror` is none of the choices; known: info"),
        ("[[rules]]\nmute = [\"sat\", \"22-7\"]", "rules[0].mute[1]", "`22-7` is no span of time; write"),
        ("[[rules]]\nmute = \"noon\"", "rules[0].mute", "`noon` is no span of time; write \"22:00-07:30\""),
        ("[[rules]]\nmute = 22", "rules[0].mute", "expected a text in quotes, found a whole number"),
        ("[[rules]]\nchannel = \"#ops\"", "rules[0].channel", "no sink of this rule has channels; Slack by bot token"),
        ("[[rules]]\nchannel = \" \"", "rules[0].channel", "` ` is not a channel; write \"#name\""),
        ("[[rules]]\ndigest = \"9 s\"", "rules[0].digest", "9 s is outside 10 s to 1 days"),
        ("[[rules]]\ndigest = 10", "rules[0].digest", "a duration needs a unit"),
        (
            "[[rules]]\nto = [\"bell\"]\ndigest = \"10 min\"",
            "rules[0].digest",
            "no sink of this rule tells several events in one message; Slack does",
        ),
        ("[[rules]]\nto = []\ndigest = \"10 min\"", "rules[0].digest", "no sink of this rule tells several"),
        ("[[rules]]\nto = [\"slak\"]\ndigest = \"10 min\"", "rules[0].to[0]", "no sink is called `slak`"),
        (
            "[schedule]\ntime_zone = \"Europe/Berln\"",
            "schedule.time_zone",
            "no time zone of this machine is called `Europe/Berln`; write it as `timedatectl list-timezones` does",
        ),
        ("[schedule]\ntimezone = \"UTC\"", "schedule.timezone", "did you mean `time_zone`?"),
        ("[[rules]]\nwhen = { kind = 1.5 }", "rules[0].when.kind", "expected a pattern such as"),
        // The bell.
        ("[bell]\nboard = \"rppal\"", "bell.board", "none of the choices; known: auto, chip, pi, simulated"),
        ("[bell]\nleds = { red = 17, blue = 17 }", "bell.leds.red", "pin 17 is already used by bell.leds.blue"),
        ("[bell]\nleds = { red = 17 }\nbuzzer = { pin = 17 }", "bell.buzzer", "already used by bell.leds.red"),
        ("[bell]\nleds = { red = 17 }\nbutton = { pin = 17 }", "bell.button", "already used by bell.leds.red"),
        ("[bell]\nleds = { red = 28 }", "bell.leds.red", "28 is outside 0 to 27; use the BCM number"),
        ("[bell]\nleds = { red = { pin = -1 } }", "bell.leds.red.pin", "-1 is outside 0 to 27"),
        ("[bell]\nleds = { buzzer = 1 }", "bell.leds.buzzer", "an LED cannot be called \"buzzer\""),
        ("[bell]\nleds = { red = {} }", "bell.leds.red", "`pin` is missing"),
        (
            "[bell]\nbuzzer = { pin = 17, type = \"passive\" }",
            "bell.buzzer",
            "does not reach pin 17; it reaches 12, 13",
        ),
        (
            "[bell]\nbuzzer = { pin = 18, type = \"loud\" }",
            "bell.buzzer.type",
            "none of the choices; known: active, passive",
        ),
        (
            "[bell]\nbuzzer = { pin = 18, type = \"passive\", volume = 0 }",
            "bell.buzzer.volume",
            "0 is outside 1 to 100",
        ),
        (
            "[bell]\nleds = { red = { pin = 12, pwm = true } }\nbuzzer = { pin = 18, type = \"passive\" }",
            "bell.buzzer",
            "channel of pin 18 is already used by bell.leds.red; before the Pi 5 12 and 18 share one",
        ),
        ("[bell]\nleds = { red = { pin = 17, pwm = true } }", "bell.leds.red", "does not reach pin 17"),
        ("[bell]\nleds = { red = \"BOARD6\" }", "bell.leds.red", "BOARD6 is ground"),
        ("[bell]\nleds = { red = \"BOARD2\" }", "bell.leds.red", "BOARD2 is 5 V"),
        ("[bell]\nleds = { d = { red = 17, green = 27 } }", "bell.leds.d", "needs `blue`, too"),
        (
            "[bell]\nleds = { d = { red = 17, green = 27, blue = 17 } }",
            "bell.leds.d.blue",
            "already used by bell.leds.d.red",
        ),
        ("[bell]\nleds = { status = 1 }", "bell.leds.status", "an LED cannot be called \"status\""),
        ("[bell]\nleds = { \"a.b\" = 1 }", "bell.leds.\"a.b\"", "an LED cannot be called \"a.b\""),
        ("[bell]\nleds = { red = 17 }\nstatus = 17", "bell.status", "already used by bell.leds.red"),
        ("[bell]\nbutton = { pin = 23, pull = \"left\" }", "bell.button.pull", "known: up, down, none"),
        ("[bell]\nbutton = { pin = 23, debounce = \"1 s\" }", "bell.button.debounce", "1 s is outside 1 ms to 200 ms"),
        ("[bell]\nquiet = [\"22-7\"]", "bell.quiet[0]", "`22-7` is no span of time"),
        ("[bell]\nstale_after = \"0 s\"", "bell.stale_after", "outside 1 s to"),
        ("[tunnel]\nmetrics = \"20241\"", "tunnel.metrics", "not an address and port"),
        (
            "[tunnel]\ncanary = \"5 min\"",
            "tunnel.canary",
            "`public_url` in [door] is not set; add to [door]: public_url = \"https://YOUR-HOST-NAME\"",
        ),
        ("[tunnel]\ncanary = \"59 s\"", "tunnel.canary", "59 s is outside 1 min to 1 day"),
        ("[tunnel]\ncanary = \"2 days\"", "tunnel.canary", "2 days is outside 1 min to 1 day"),
        ("[tunnel]\ncanary = 5", "tunnel.canary", "a duration needs a unit; write \"5 s\""),
        ("[tunnel]\ncanary = true", "tunnel.canary", "expected a duration such as"),
        ("[cues.x]\nled = \"red\"\npattern = \"pulse\"", "cues.x.pattern", "known: solid, blink, breathe, heartbeat"),
        (
            "[cues.x]\nled = \"red\"\npattern = \"solid\"\nblink = { times = 2 }",
            "cues.x.blink",
            "the pattern is `solid`",
        ),
        ("[cues.x]\nled = \"red\"\nlasts = \"2 s\"", "cues.x.lasts", "how long it blinks is said by `blink`"),
        ("[cues.x]\nled = \"red\"\ncolour = \"mauve\"", "cues.x.colour", "no colour is called `mauve`"),
        ("[cues.x]\ntune = \"c\"\nlatch = true", "cues.x.latch", "nothing stays lit without an LED"),
        (
            "[cues.x]\nled = \"red\"\nlatch = true\nclears_on = [\"ci_pased\"]",
            "cues.x.clears_on[0]",
            "no event is of the kind `ci_pased`; did you mean `ci_passed`?",
        ),
        // Cues.
        ("[cues.x]\nled = \"gren\"", "cues.x.led", "no LED is called `gren` in [bell]; did you mean `green`?"),
        ("[cues.x]\nblink = { times = 51 }", "cues.x.blink.times", "51 is outside 1 to 50"),
        (
            "[cues.x]\nblink = { times = 50, on_ms = 500 }",
            "cues.x.blink",
            "blinks for 35 s in all; the longest is 10 s",
        ),
        ("[cues.x]\npriority = 256", "cues.x.priority", "256 is outside 0 to 255"),
        ("[cues]\nx = 1", "cues.x", "expected a table"),
        ("[cues.x]\ntune = \"c,e,x\"", "cues.x.tune", "not a tune: column 5"),
        (
            "[[rules]]\nwhen = { kind = \"pr_opend\" }",
            "rules[0]",
            "this rule can never match: when.kind matches none of",
        ),
        ("[panel]\nlisten = \"5001\"", "panel.listen", "is not an address and port"),
        ("[panel]\ntoken = \"x\"", "panel.token", "secrets are never values"),
        ("[panel]\nlisten = \"0.0.0.0:5001\"", "panel.token", "beyond this machine, which needs a token"),
        ("[panel]\nhosts = [\"http://x\"]", "panel.hosts[0]", "is not a host's name"),
        ("[health]\nfailing_ratio = 2", "health.failing_ratio", "is outside"),
        ("[health]\ntell_after = \"x\"", "health.tell_after", "is not a duration"),
        // The file itself.
        ("[door\n", "", "not TOML"),
    ];
    for (text, key, says) in table {
        let Err(problems) = check(text) else { panic!("accepted:\n{text}") };
        let found = problems.iter().any(|problem| {
            problem.level == Level::Error
                && problem.key == *key
                && problem.line.is_some()
                && line(problem).contains(says)
        });
        assert!(found, "{text}\nshould complain about {key:?}: {says}\nand says {problems:#?}");
        let errors = problems.iter().filter(|problem| problem.level == Level::Error).count();
        assert!(errors == 1 || key.is_empty(), "one mistake, one error:\n{text}\n{problems:#?}");
    }
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_file() {
    let text = "\
[retry]
factor = 0
[door]
lissten = 1
body_max = \"1 GiB\"
connections_max = 0
[sources.github]
secret = \"hunter2\"
[[rules]]
to = [\"slak\", \"bel\"]
";
    let problems = check(text).unwrap_err();
    let lines: Vec<String> = problems.iter().map(line).collect();
    let starts = [
        "2 retry.factor",
        "4 door.lissten",
        "5 door.body_max",
        "6 door.conn",
        "8 sources.github.secret",
        "10 rules[0].to[0]",
        "10 rules[0].to[1]",
    ];
    assert_eq!(lines.len(), starts.len(), "{lines:#?}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}\nshould start with {start}");
    }
    let failure = Failure { file: Some("/x.toml".into()), problems };
    let text = failure.to_string();
    assert!(text.starts_with("the configuration /x.toml cannot be used\n  error: line 2: retry.factor: "), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn every_flaw_of_a_source_is_reported_and_says_which_secret_it_is() {
    let env = |name: &str| format!("{{ env = \"{name}\" }}");
    let secrets = [env("GITHUB_WEBHOOK_SECRET"), "{ file = \"absent\" }".to_owned(), env("SLACK_WEBHOOK_URL")];
    let problems = check(&format!("[sources.svix]\nsecret = [{}]", secrets.join(", "))).unwrap_err();
    assert!(problems.iter().all(|problem| problem.key == "sources.svix.secret"), "{problems:#?}");
    let says = |part: &str| problems.iter().filter(|problem| problem.what.contains(part)).count();
    assert_eq!((problems.len(), says("secret 1 of 3: "), says("secret 3 of 3: "), says("absent")), (3, 1, 1, 1));

    // A secret that is not there keeps nothing else from being told.
    let problems = check("[sources.datadog]\nheader = \"not a header\"").unwrap_err();
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["sources.datadog.secret", "sources.datadog"], "{problems:#?}");
}

#[test]
fn every_option_is_a_key_that_is_read() {
    for key in crate::provider::Options::KEYS {
        let problems = check(&format!("[sources.github]\n{key} = [[]]")).unwrap_err();
        let of_key = |problem: &&Problem| problem.key == format!("sources.github.{key}");
        let told: Vec<&str> = problems.iter().filter(of_key).map(|problem| problem.what.as_str()).collect();
        assert!(told.iter().any(|what| what.starts_with("expected ")), "{key}: {problems:#?}");
    }
}

#[test]
fn what_is_in_order_is_not_warned_about() {
    for text in [
        "[panel]\nlisten = \"\"",
        "[panel]",
        "[bell]\nleds = { red = 17 }\nquiet = []",
        "[bell]\nleds = { red = 17 }\nbutton = 23",
        "[cues.x]\nled = \"red\"\nlatch = false",
    ] {
        assert!(good(text).warnings.is_empty(), "{text}");
    }
}
