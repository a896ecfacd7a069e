//! Twilio's requests, of our own making.

use super::{
    super::{
        read,
        sample::{Sample, Seed},
    },
    RECEIVED,
};

pub(super) const LIST: &[(&str, &str)] = &[
    ("sms_received", "somebody texts you"),
    ("sms_failed", "your message cannot be delivered"),
    ("call_completed", "a call is over"),
    ("call_missed", "nobody takes a call"),
    ("sms_delivered", "your message arrives, which is not told"),
];

pub(super) fn build(name: &str, salt: u64) -> Option<Sample> {
    let seed = Seed::new(salt);
    let id = |prefix: &str| format!("{prefix}{}", read::to_hex(seed.word(prefix, 16).as_bytes()));
    // 555-01xx belongs to nobody.
    let them = format!("+1415555{:04}", 100 + seed.below("them", 100));
    let (ours, account, message, call) = ("+13175550100", id("AC"), id("SM"), id("CA"));
    let text = seed.pick("text", &["The lamp is on again", "Who took the soldering iron?", "On my way, 10 minutes"]);
    let seconds = (5 + seed.below("seconds", 600)).to_string();
    let common = [("AccountSid", account.as_str()), ("ApiVersion", "2010-04-01")];
    let (status, fields) = match name {
        "sms_received" => {
            let fields = [("MessageSid", message.as_str()), ("SmsStatus", RECEIVED), ("From", &them), ("To", ours)];
            (RECEIVED, [&fields[..], &[("Body", text), ("NumMedia", "0"), ("FromCity", "")]].concat())
        }
        "sms_failed" | "sms_delivered" => {
            let is_failure = name == "sms_failed";
            let status = if is_failure { "undelivered" } else { "delivered" };
            let fields = [("MessageSid", message.as_str()), ("MessageStatus", status), ("From", ours), ("To", &them)];
            (status, [&fields[..], if is_failure { &[("ErrorCode", "30003")] } else { &[] }].concat())
        }
        "call_completed" | "call_missed" => {
            let is_over = name == "call_completed";
            let status = if is_over { "completed" } else { "no-answer" };
            let fields = [("CallSid", call.as_str()), ("CallStatus", status), ("From", &them), ("To", ours)];
            let duration = if is_over { seconds.as_str() } else { "0" };
            (status, [&fields[..], &[("Direction", "inbound"), ("CallDuration", duration)]].concat())
        }
        _ => return None,
    };
    Some(Sample::form(status, [&fields[..], &common].concat()))
}
