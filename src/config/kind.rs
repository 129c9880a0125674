//! What kind of value a directive has: how its words are checked, and their canonical text.

use std::net::IpAddr;

use super::grammar::size;

/// A kind of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `yes` or `no`.
    Bool,
    /// A whole number in `min..=max`.
    Integer { min: i64, max: i64 },
    /// A number of bytes with Redis' units, in `min..=max`.
    Bytes { min: u64, max: u64 },
    /// Bytes, or a share of the memory as `n%`.
    BytesOrPercent,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Some of these words.
    Choices(&'static [&'static str]),
    /// Any one word.
    Text,
    /// A host name, or nothing.
    Hostname,
    /// A TCP port; `0` is none and `auto` is any that is free.
    Port,
    /// Addresses to listen on.
    Addresses,
    /// `host:port`, or nothing.
    Peer,
    /// `host:port`, several separated by commas.
    Peers,
    /// What people call something: letters, digits and `-._:`.
    Name,
    /// Permission bits.
    Octal,
    /// Redis' save points: pairs of seconds and changes.
    SavePoints,
    /// Output limits, four words per class of clients.
    OutputLimits,
    /// Numbers in 0..=100.
    Percentiles,
    /// Classes of keyspace events, one letter each.
    Events,
    /// Three numbers in -2000..=2000.
    OomScores,
    /// Words that are kept as they are.
    Words,
}

/// The classes of clients, as CONFIG GET names them.
pub(super) const CLIENT_CLASSES: [&str; 3] = ["normal", "slave", "pubsub"];

/// All classes of keyspace events that `A` stands for, in the order Redis prints them, and those it does not.
const EVENTS_ALL: &str = "g$lshzxetd";
const EVENTS_OTHER: &str = "KEmn";

impl Kind {
    /// Checks the words given for a directive and returns their canonical text. `current` is the value so far, to
    /// which the lines of some kinds add.
    pub(super) fn canonical(self, words: &[&str], current: &str) -> Result<String, String> {
        // Where several words may stand they may stand in one pair of quotes, too: `--bind '127.0.0.1 ::1'`.
        let split: Vec<&str> = match words {
            [word] if self.takes_words() => word.split_whitespace().collect(),
            _ => Vec::new(),
        };
        let words = if split.is_empty() { words } else { split.as_slice() };
        match self {
            Self::SavePoints => return save_points(words),
            Self::OutputLimits => return output_limits(words, current),
            Self::Percentiles => return percentiles(words),
            Self::OomScores => return oom_scores(words),
            Self::Addresses => return addresses(words),
            Self::Choices(choices) => return some_of(choices, words),
            Self::Words => return Ok(words.join(" ")),
            Self::Bool | Self::Integer { .. } | Self::Bytes { .. } | Self::BytesOrPercent => {}
            Self::Choice(_) | Self::Text | Self::Hostname | Self::Port | Self::Peer | Self::Peers => {}
            Self::Name | Self::Octal | Self::Events => {}
        }
        let [word] = words else {
            return Err("wrong number of arguments".to_string());
        };
        self.one(word)
    }

    /// Whether the value may be several words.
    pub(super) fn takes_words(self) -> bool {
        match self {
            Self::SavePoints | Self::OutputLimits | Self::Percentiles | Self::OomScores => true,
            Self::Addresses | Self::Choices(_) | Self::Words => true,
            Self::Bool | Self::Integer { .. } | Self::Bytes { .. } | Self::BytesOrPercent => false,
            Self::Choice(_) | Self::Text | Self::Hostname | Self::Port | Self::Peer | Self::Peers => false,
            Self::Name | Self::Octal | Self::Events => false,
        }
    }

    fn one(self, word: &str) -> Result<String, String> {
        match self {
            Self::Bool => match word.to_ascii_lowercase().as_str() {
                yes_or_no @ ("yes" | "no") => Ok(yes_or_no.to_string()),
                _ => Err("argument must be 'yes' or 'no'".to_string()),
            },
            Self::Integer { min, max } => {
                let number: i64 =
                    word.parse().map_err(|_| "argument couldn't be parsed into an integer".to_string())?;
                within(number, min, max)
            }
            Self::Bytes { min, max } => {
                within(size(word).ok_or_else(|| "argument must be a memory value".to_string())?, min, max)
            }
            Self::BytesOrPercent => bytes_or_percent(word),
            Self::Choice(choices) => some_of(choices, &[word]),
            Self::Hostname => hostname(word),
            Self::Port => port(word),
            Self::Peer if word.contains(',') => Err("one host:port is wanted".to_string()),
            Self::Peer | Self::Peers => peers(word),
            Self::Name => name(word),
            Self::Octal => u32::from_str_radix(word, 8)
                .ok()
                .filter(|mode| *mode <= 0o777)
                .map(|mode| format!("{mode:o}"))
                .ok_or_else(|| "argument couldn't be parsed as an octal number".to_string()),
            Self::Events => events(word),
            Self::Text | Self::Choices(_) | Self::Addresses | Self::SavePoints => Ok(word.to_string()),
            Self::OutputLimits | Self::Percentiles | Self::OomScores | Self::Words => Ok(word.to_string()),
        }
    }
}

fn within<N: PartialOrd + ToString>(number: N, min: N, max: N) -> Result<String, String> {
    if min <= number && number <= max {
        return Ok(number.to_string());
    }
    Err(format!("argument must be between {} and {} inclusive", min.to_string(), max.to_string()))
}

fn bytes_or_percent(word: &str) -> Result<String, String> {
    if let Some(percent) = word.strip_suffix('%') {
        return match percent.parse::<u32>() {
            Ok(percent @ 0..=100) => Ok(format!("{percent}%")),
            Ok(_) => Err("percentage argument must be less or equal to 100".to_string()),
            Err(_) => Err("argument must be a memory or percent value".to_string()),
        };
    }
    size(word)
        .map(|bytes| bytes.to_string())
        .ok_or_else(|| "argument must be a memory or percent value".to_string())
}

fn some_of(choices: &[&str], words: &[&str]) -> Result<String, String> {
    let mut chosen = Vec::new();
    for word in words {
        match choices.iter().find(|choice| choice.eq_ignore_ascii_case(word)) {
            Some(choice) => chosen.push(*choice),
            None => {
                return Err(format!("argument(s) must be one of the following: {}", choices.join(", ")));
            }
        }
    }
    Ok(chosen.join(" "))
}

fn hostname(word: &str) -> Result<String, String> {
    if word.len() >= 256 {
        return Err("Hostnames must be less than 256 characters".to_string());
    }
    if !word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.') {
        return Err("Hostnames may only contain alphanumeric characters, hyphens or dots".to_string());
    }
    Ok(word.to_string())
}

fn name(word: &str) -> Result<String, String> {
    if word.len() >= 256 {
        return Err("names must be less than 256 characters".to_string());
    }
    if !word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte)) {
        return Err("names may only contain alphanumeric characters, hyphens, dots, colons or underscores"
            .to_string());
    }
    Ok(word.to_string())
}

fn port(word: &str) -> Result<String, String> {
    if word == "auto" {
        return Ok(word.to_string());
    }
    Kind::Integer { min: 0, max: 65535 }.one(word)
}

/// The longest `host:port`: a host name has at most 255 bytes.
const PEER_BYTES_MAX: usize = 270;

fn peers(word: &str) -> Result<String, String> {
    let peers: Vec<&str> = word.split(',').map(str::trim).filter(|peer| !peer.is_empty()).collect();
    for peer in &peers {
        let port = peer.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
        if port.and_then(|port| port.parse::<u16>().ok()).is_none_or(|port| port == 0) {
            return Err(format!("'{peer}' is not host:port"));
        }
        if peer.len() > PEER_BYTES_MAX {
            return Err(format!("'{peer}' is longer than {PEER_BYTES_MAX} bytes"));
        }
        if peers.iter().filter(|other| *other == peer).count() > 1 {
            return Err(format!("'{peer}' is named twice"));
        }
    }
    Ok(peers.join(","))
}

fn addresses(words: &[&str]) -> Result<String, String> {
    // A list of one empty word is how redis.conf says "none": there would be nothing to serve.
    if words.iter().all(|word| word.is_empty()) {
        return Err("at least one address is needed".to_string());
    }
    for word in words {
        if address(word).is_none() {
            return Err(format!("'{word}' is not an IP address, '*' or '::*'"));
        }
    }
    Ok(words.join(" "))
}

/// Reads one address to listen on: the address, and whether the node starts without it.
pub(super) fn address(word: &str) -> Option<(IpAddr, bool)> {
    let (word, optional) = match word.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (word, false),
    };
    let ip = match word {
        "*" => IpAddr::from([0, 0, 0, 0]),
        "::*" => IpAddr::from([0_u16; 8]),
        word => word.parse().ok()?,
    };
    Some((ip, optional))
}

fn save_points(words: &[&str]) -> Result<String, String> {
    if words == [""] || words.is_empty() {
        return Ok(String::new());
    }
    let valid = |(at, word): (usize, &&str)| {
        // Seconds are at least one, changes at least none.
        word.parse::<i64>().is_ok_and(|number| number >= i64::from(at % 2 == 0))
    };
    if !words.len().is_multiple_of(2) || !words.iter().enumerate().all(valid) {
        return Err("Invalid save parameters".to_string());
    }
    Ok(words.join(" "))
}

fn output_limits(words: &[&str], current: &str) -> Result<String, String> {
    let mut fields: Vec<String> = current.split(' ').map(str::to_string).collect();
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".to_string());
    }
    for limit in words.chunks_exact(4) {
        let class = if limit[0].eq_ignore_ascii_case("replica") { "slave" } else { limit[0] };
        let Some(at) = CLIENT_CLASSES.iter().position(|known| known.eq_ignore_ascii_case(class)) else {
            return Err("Invalid client class specified in buffer limit configuration.".to_string());
        };
        let (Some(hard), Some(soft), Ok(seconds)) = (size(limit[1]), size(limit[2]), limit[3].parse::<u32>())
        else {
            return Err(
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.".to_string()
            );
        };
        let numbers = [hard, soft, u64::from(seconds)].map(|number| number.to_string());
        fields.splice(4 * at + 1..4 * at + 4, numbers);
    }
    Ok(fields.join(" "))
}

fn percentiles(words: &[&str]) -> Result<String, String> {
    if words == [""] {
        return Ok(String::new());
    }
    let mut percentiles = Vec::new();
    for word in words {
        match word.parse::<f64>() {
            Ok(percentile) if (0.0..=100.0).contains(&percentile) => percentiles.push(percentile.to_string()),
            Ok(percentile) if !percentile.is_nan() => {
                return Err(
                    "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".to_string()
                );
            }
            _ => return Err("Invalid latency-tracking-info-percentiles parameters".to_string()),
        }
    }
    Ok(percentiles.join(" "))
}

fn events(word: &str) -> Result<String, String> {
    let known = |letter: char| letter == 'A' || EVENTS_ALL.contains(letter) || EVENTS_OTHER.contains(letter);
    if !word.chars().all(known) {
        return Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_string());
    }
    let given = |letter: &char| word.contains(*letter);
    let mut text: String = EVENTS_ALL.chars().filter(given).collect();
    if word.contains('A') || text == EVENTS_ALL {
        text = "A".to_string();
    }
    text.extend(EVENTS_OTHER.chars().filter(given));
    Ok(text)
}

fn oom_scores(words: &[&str]) -> Result<String, String> {
    if words.len() != 3 {
        return Err("wrong number of arguments".to_string());
    }
    if !words.iter().all(|word| word.parse::<i32>().is_ok_and(|score| (-2000..=2000).contains(&score))) {
        return Err("Invalid oom-score-adj-values, elements must be between -2000 and 2000.".to_string());
    }
    Ok(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_LIMITS: &str = "normal 0 0 0 slave 0 0 0 pubsub 0 0 0";

    #[test]
    fn values_get_one_canonical_text() {
        let whole = Kind::Integer { min: -1, max: 10 };
        let bytes = Kind::Bytes { min: 0, max: u64::MAX };
        let cases: &[(Kind, &[&str], &str)] = &[
            (Kind::Bool, &["YES"], "yes"),
            (whole, &["-1"], "-1"),
            (whole, &["007"], "7"),
            (bytes, &["1Kb"], "1024"),
            (Kind::BytesOrPercent, &["5%"], "5%"),
            (Kind::BytesOrPercent, &["1k"], "1000"),
            (Kind::Choice(&["a", "b"]), &["B"], "b"),
            (Kind::Choices(&["save", "now"]), &["save", "NOW"], "save now"),
            (Kind::Port, &["auto"], "auto"),
            (Kind::Addresses, &["*", "-::1"], "* -::1"),
            (Kind::Peers, &["b:1, a:2,"], "b:1,a:2"),
            (Kind::Peers, &["[::1]:5001"], "[::1]:5001"),
            (Kind::Peer, &["a:1"], "a:1"),
            (Kind::Name, &["kv-0.kv_raft:5001"], "kv-0.kv_raft:5001"),
            (Kind::Octal, &["0700"], "700"),
            (Kind::SavePoints, &[""], ""),
            (Kind::SavePoints, &["900", "1", "300", "10"], "900 1 300 10"),
            (Kind::Percentiles, &["50", "99.9"], "50 99.9"),
            (Kind::Percentiles, &[""], ""),
            (Kind::Events, &["KEA"], "AKE"),
            (Kind::Events, &["xgKn"], "gxKn"),
            (Kind::OomScores, &["0", "200", "-800"], "0 200 -800"),
        ];
        for (kind, words, text) in cases {
            assert_eq!(kind.canonical(words, "").as_deref(), Ok(*text), "{kind:?} {words:?}");
        }
    }

    #[test]
    fn the_limits_of_one_class_leave_the_others() {
        let limits = Kind::OutputLimits.canonical(&["Replica", "1mb", "2k", "3"], NO_LIMITS);
        assert_eq!(limits.as_deref(), Ok("normal 0 0 0 slave 1048576 2000 3 pubsub 0 0 0"));
    }

    #[test]
    fn errors_are_those_of_redis() {
        let whole = Kind::Integer { min: 0, max: 2_147_483_647 };
        let bytes = Kind::Bytes { min: 1 << 20, max: i64::MAX.cast_unsigned() };
        let cases: &[(Kind, &[&str], &str)] = &[
            (Kind::Bool, &["maybe"], "argument must be 'yes' or 'no'"),
            (whole, &["abc"], "argument couldn't be parsed into an integer"),
            (whole, &["1.5"], "argument couldn't be parsed into an integer"),
            (whole, &["-1"], "argument must be between 0 and 2147483647 inclusive"),
            (whole, &["1", "2"], "wrong number of arguments"),
            (bytes, &["-1"], "argument must be a memory value"),
            (bytes, &["1"], "argument must be between 1048576 and 9223372036854775807 inclusive"),
            (Kind::BytesOrPercent, &["101%"], "percentage argument must be less or equal to 100"),
            (Kind::BytesOrPercent, &["x"], "argument must be a memory or percent value"),
            (Kind::Choice(&["a", "b"]), &["c"], "argument(s) must be one of the following: a, b"),
            (Kind::Port, &["70000"], "argument must be between 0 and 65535 inclusive"),
            (Kind::SavePoints, &["1", "2", "3"], "Invalid save parameters"),
            (Kind::SavePoints, &["-1", "2"], "Invalid save parameters"),
            (Kind::Percentiles, &["a"], "Invalid latency-tracking-info-percentiles parameters"),
            (
                Kind::Percentiles,
                &["101"],
                "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
            ),
            (Kind::Events, &["q"], "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
            (
                Kind::OutputLimits,
                &["normal", "1", "2"],
                "Wrong number of arguments in buffer limit configuration.",
            ),
            (
                Kind::OutputLimits,
                &["foo", "1", "2", "3"],
                "Invalid client class specified in buffer limit configuration.",
            ),
            (
                Kind::OutputLimits,
                &["normal", "a", "2", "3"],
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
            ),
            (Kind::OomScores, &["1", "2"], "wrong number of arguments"),
            (
                Kind::OomScores,
                &["1", "2", "3000"],
                "Invalid oom-score-adj-values, elements must be between -2000 and 2000.",
            ),
            (Kind::Hostname, &["a b"], "Hostnames may only contain alphanumeric characters, hyphens or dots"),
            (Kind::Octal, &["999"], "argument couldn't be parsed as an octal number"),
            (Kind::Addresses, &["localhost"], "'localhost' is not an IP address, '*' or '::*'"),
            (Kind::Addresses, &[""], "at least one address is needed"),
            (
                Kind::Name,
                &["a,b"],
                "names may only contain alphanumeric characters, hyphens, dots, colons or underscores",
            ),
            (Kind::Peer, &["a:1,b:1"], "one host:port is wanted"),
            (Kind::Peers, &["a"], "'a' is not host:port"),
            (Kind::Peers, &["a:0"], "'a:0' is not host:port"),
            (Kind::Peers, &["a:1,a:1"], "'a:1' is named twice"),
        ];
        for (kind, words, text) in cases {
            assert_eq!(kind.canonical(words, NO_LIMITS), Err(text.to_string()), "{kind:?} {words:?}");
        }
    }
}
