//! Amounts as people write them. Owns how many decimals a currency has.

/// Currencies without decimals (ISO 4217, and Stripe's list of zero-decimal currencies).
const NO_DECIMALS: &[&str] = &[
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF",
    "XPF",
];

/// Currencies with three.
const THREE_DECIMALS: &[&str] = &["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];

/// An amount in the smallest unit of its currency: `(1250, "eur")` is `12.50 EUR`, `(1250, "jpy")` is `1250 JPY`. `None`
/// when that is no currency's code.
pub(super) fn minor(amount: i64, currency: &str) -> Option<String> {
    let currency = code(currency)?;
    let decimals = decimals(&currency);
    let sign = if amount < 0 { "-" } else { "" };
    let unit = 10_u64.pow(decimals);
    let (whole, part) = (amount.unsigned_abs() / unit, amount.unsigned_abs() % unit);
    Some(match decimals {
        0 => format!("{sign}{whole} {currency}"),
        _ => format!("{sign}{whole}.{part:0width$} {currency}", width = decimals as usize),
    })
}

/// An amount that is written as a decimal number already (`"12.5"`, as Shopify does), with the currency's own decimals.
/// `None` when it is no plain decimal number.
pub(super) fn decimal(amount: &str, currency: &str) -> Option<String> {
    let currency = code(currency)?;
    let (sign, digits) = amount.trim().strip_prefix('-').map_or(("", amount.trim()), |rest| ("-", rest));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 15 || part.len() > 6 || !is_digits(whole) || !is_digits(part) {
        return None;
    }
    let decimals = decimals(&currency) as usize;
    // What the currency has no coin for is shown all the same when somebody wrote it.
    let part = part.trim_end_matches('0');
    Some(match decimals.max(part.len()) {
        0 => format!("{sign}{whole} {currency}"),
        width => format!("{sign}{whole}.{part:0<width$} {currency}"),
    })
}

fn code(currency: &str) -> Option<String> {
    let is_code = currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_code.then(|| currency.to_ascii_uppercase())
}

fn decimals(currency: &str) -> u32 {
    match currency {
        _ if NO_DECIMALS.contains(&currency) => 0,
        _ if THREE_DECIMALS.contains(&currency) => 3,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_their_currency_s_decimals() {
        let check = |amount, currency, expected: Option<&str>| assert_eq!(minor(amount, currency).as_deref(), expected);
        check(1250, "eur", Some("12.50 EUR"));
        check(5, "usd", Some("0.05 USD"));
        check(-5, "usd", Some("-0.05 USD"));
        check(1250, "jpy", Some("1250 JPY"));
        check(1250, "kwd", Some("1.250 KWD"));
        check(i64::MIN, "usd", Some("-92233720368547758.08 USD"));
        check(1, "", None);
        check(1, "€", None);
    }

    #[test]
    fn decimal_amounts_are_completed_and_never_computed() {
        let check = |amount, currency, expected: Option<&str>| {
            assert_eq!(decimal(amount, currency).as_deref(), expected, "{amount} {currency}");
        };
        check("12.5", "EUR", Some("12.50 EUR"));
        check("12", "EUR", Some("12.00 EUR"));
        check("1250.00", "JPY", Some("1250 JPY"));
        check("-3.999", "USD", Some("-3.999 USD"));
        check("1e9", "USD", None);
        check("", "USD", None);
        check("1,5", "USD", None);
    }
}
