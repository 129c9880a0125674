//! The verbs of the command line that speak to a node that runs: `sisyphusdb status`, `member …`, `transfer …`.
//!
//! They are RAFT.* commands over RESP to any node. What only the leader can do is sent to the leader, whose address the
//! node says.

mod connection;
mod outcome;
mod table;

use std::fmt::Write;

use self::connection::{CliError, Connection, Reply};

/// Where the node is, and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    host: String,
    port: u16,
    password: Option<String>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verb {
    Status,
    Members,
    /// A command that only the leader carries out.
    Leader(Vec<String>),
}

/// How the verbs are called.
pub const USAGE: &str = "\
Usage: sisyphusdb <verb> [--host name] [--port number] [-a password]

  status                              the node, its cluster, and how far each member is
  member list                         the members
  member add id host:peer-port [name] adds a learner
  member remove node [--force]        removes a member for ever
  member promote node                 lets a learner vote
  member demote node                  makes a voter a learner
  member replace old new              lets a learner vote in the place of a member
  transfer [node]                     hands the leadership over

A node is called by its id, its name, or where other nodes dial it. Any node can be asked; the password may stand in
SISYPHUSDB_PASSWORD instead.
";

/// Carries out a verb, if `arguments` begin with one: the text to print, or the line to complain with. `password` is that of
/// the environment.
pub fn run(arguments: &[String], password: Option<String>) -> Option<Result<String, CliError>> {
    let is_verb = matches!(arguments.first().map(String::as_str), Some("status" | "member" | "transfer"));
    is_verb.then(|| {
        if arguments.iter().any(|argument| matches!(argument.as_str(), "-h" | "--help")) {
            return Ok(USAGE.to_owned());
        }
        let (target, words) = target(arguments, password)?;
        carry_out(&target, verb(&words)?)
    })
}

/// Takes the options out of the command line.
fn target(arguments: &[String], password: Option<String>) -> Result<(Target, Vec<String>), CliError> {
    let mut target = Target { host: "127.0.0.1".to_owned(), port: 6379, password };
    let (mut words, mut is_forced) = (Vec::new(), false);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value =
            || arguments.next().cloned().ok_or_else(|| CliError::Usage(format!("{argument} wants a value")));
        match argument.as_str() {
            "--host" => target.host = value()?,
            "--port" => {
                let port = value()?;
                target.port = port.parse().map_err(|_| CliError::Usage(format!("'{port}' is no port")))?;
            }
            "-a" | "--password" => target.password = Some(value()?),
            "--force" => is_forced = true,
            option if option.starts_with('-') => {
                return Err(CliError::Usage(format!("there is no option '{option}'")));
            }
            word => words.push(word.to_owned()),
        }
    }
    words.extend(is_forced.then(|| "--force".to_owned()));
    Ok((target, words))
}

fn verb(words: &[String]) -> Result<Verb, CliError> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let leader = |words: &[&str]| Ok(Verb::Leader(words.iter().map(|word| (*word).to_owned()).collect()));
    match words.as_slice() {
        ["status"] => Ok(Verb::Status),
        ["member", "list"] => Ok(Verb::Members),
        ["member", "add", id, peer] => leader(&["RAFT.MEMBER", "ADD", id, peer]),
        ["member", "add", id, peer, name] => leader(&["RAFT.MEMBER", "ADD", id, peer, "NAME", name]),
        ["member", "remove", node] => leader(&["RAFT.MEMBER", "REMOVE", node]),
        // As RAFT.MEMBER takes them.
        ["member", "add", id, peer, word, name] if word.eq_ignore_ascii_case("name") => {
            leader(&["RAFT.MEMBER", "ADD", id, peer, "NAME", name])
        }
        ["member", "remove", node, word] if word.eq_ignore_ascii_case("force") => {
            leader(&["RAFT.MEMBER", "REMOVE", node, "FORCE"])
        }
        ["member", "remove", node, "--force"] => leader(&["RAFT.MEMBER", "REMOVE", node, "FORCE"]),
        ["member", "promote", node] => leader(&["RAFT.MEMBER", "PROMOTE", node]),
        ["member", "demote", node] => leader(&["RAFT.MEMBER", "DEMOTE", node]),
        ["member", "replace", old, new] => leader(&["RAFT.MEMBER", "REPLACE", old, new]),
        ["transfer"] => leader(&["RAFT.TRANSFER"]),
        ["transfer", node] => leader(&["RAFT.TRANSFER", node]),
        _ => Err(CliError::Usage(format!("'{}' is not understood", words.join(" ")))),
    }
}

fn carry_out(target: &Target, verb: Verb) -> Result<String, CliError> {
    let mut node = Connection::open(target)?;
    match verb {
        Verb::Status => {
            let status = node.ask(&["RAFT.STATUS"])?;
            Ok(format!("{}\n{}", summary(&status), members(status.field("members"))))
        }
        Verb::Members => Ok(members(&node.ask(&["RAFT.MEMBER", "LIST"])?)),
        Verb::Leader(words) => {
            let status = node.ask(&["RAFT.STATUS"])?;
            if status.field("role").text() != "leader" {
                node = Connection::open(&leader(target, &status)?)?;
            }
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            match node.ask(&words) {
                Err(error) if outcome::is_unknown(&error) => {
                    outcome::is_shown(target, &words, &status).then(|| "OK\n".to_owned()).ok_or(error)
                }
                answer => Ok(format!("{}\n", answer?.text())),
            }
        }
    }
}

/// Where the leader is, as a follower says.
fn leader(asked: &Target, status: &Reply) -> Result<Target, CliError> {
    let address = status.field("leader_address").text();
    let (host, port) = address.rsplit_once(':').ok_or(CliError::NoLeader)?;
    let port = port.parse().ok().filter(|port| *port != 0).ok_or(CliError::NoLeader)?;
    // A node that does not know its own address is at the one that was asked.
    let host = if host.is_empty() { asked.host.clone() } else { host.to_owned() };
    Ok(Target { host, port, password: asked.password.clone() })
}

fn summary(status: &Reply) -> String {
    let mut text = String::new();
    let field = |name: &str| status.field(name).text();
    let leader = match field("leader_name") {
        name if !name.is_empty() => name,
        _ => field("leader_id"),
    };
    let leader = if leader.is_empty() { "none".to_owned() } else { leader };
    for (name, value) in [
        ("node", format!("{} {}", field("node_id"), field("name"))),
        ("cluster", field("cluster_id")),
        ("role", format!("{} in term {}", field("role"), field("term"))),
        ("leader", format!("{leader} {}", field("leader_address"))),
        ("members", format!("{} voters, {} learners", field("voters"), field("learners"))),
        ("change", field("change")),
        ("lease", field("lease")),
        ("log", format!("to {}, durable to {}", field("last_index"), field("durable_index"))),
        (
            "state",
            format!(
                "committed to {}, applied to {}, in tables to {}",
                field("commit_index"),
                field("applied_index"),
                field("flushed_index")
            ),
        ),
    ] {
        let _ = writeln!(text, "{name:<8} {}", value.trim_end());
    }
    text
}

/// The members as a table; what only the leader knows stands in it when it was the leader that was asked.
fn members(members: &Reply) -> String {
    const COLUMNS: [&str; 9] =
        ["id", "name", "kind", "role", "peer", "address", "mode", "match_index", "lag"];
    let rows = members.elements().iter().map(|member| COLUMNS.map(|column| member.field(column).text()));
    table::print(&COLUMNS, &rows.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    fn parsed(line: &str) -> Result<(Target, Verb), String> {
        let (target, words) = target(&words(line), None).map_err(|error| error.to_string())?;
        Ok((target, verb(&words).map_err(|error| error.to_string())?))
    }

    #[test]
    fn verbs_are_commands_of_the_leader() {
        for (line, command) in [
            ("member add 7 a:5001", "RAFT.MEMBER ADD 7 a:5001"),
            ("member add 7 a:5001 b", "RAFT.MEMBER ADD 7 a:5001 NAME b"),
            ("member add 7 a:5001 NAME b", "RAFT.MEMBER ADD 7 a:5001 NAME b"),
            ("member remove a force", "RAFT.MEMBER REMOVE a FORCE"),
            ("member remove --force a", "RAFT.MEMBER REMOVE a FORCE"),
            ("member remove a --force", "RAFT.MEMBER REMOVE a FORCE"),
            ("member promote a", "RAFT.MEMBER PROMOTE a"),
            ("member demote a", "RAFT.MEMBER DEMOTE a"),
            ("member replace a b", "RAFT.MEMBER REPLACE a b"),
            ("transfer", "RAFT.TRANSFER"),
            ("transfer a", "RAFT.TRANSFER a"),
        ] {
            assert_eq!(parsed(line).unwrap().1, Verb::Leader(words(command)), "{line}");
        }
        let (target, verb) = parsed("status --host h --port 7 -a secret").unwrap();
        assert_eq!(verb, Verb::Status);
        assert_eq!((target.host.as_str(), target.port, target.password.as_deref()), ("h", 7, Some("secret")));
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for line in [
            "member",
            "member add 7",
            "status x",
            "transfer a b",
            "member list --port x",
            "status --foo",
            "status --force",
            "status -a",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
        assert!(run(&words("server.conf"), None).is_none());
        assert_eq!(run(&words("status --help"), None).unwrap().unwrap(), USAGE);
    }

    #[test]
    fn the_leader_is_where_a_follower_says() {
        let asked = Target { host: "asked".to_owned(), port: 1, password: None };
        let status =
            |address: &str| Reply::Map(vec![("leader_address".to_owned(), Reply::Text(address.to_owned()))]);
        let found =
            |address: &str| leader(&asked, &status(address)).map(|target| (target.host, target.port)).ok();
        assert_eq!(found("h:7"), Some(("h".to_owned(), 7)));
        assert_eq!(found(":7"), Some(("asked".to_owned(), 7)));
        assert_eq!(found("::1:7"), Some(("::1".to_owned(), 7)));
        assert_eq!(found(""), None);
        assert_eq!(found("h:0"), None);
    }
}
