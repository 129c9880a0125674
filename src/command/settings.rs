//! CONFIG: the directives of this node, read and changed while it runs.

use super::help;
use super::node::{Ask, NodeContext};
use super::spec::{Command, Compare};
use crate::keyspace::{CommandError, Result};
use crate::resp::{Args, ReplyWriter};

/// CONFIG and its subcommands.
pub(super) const COMMAND: Command = Command::container(
    "CONFIG",
    &[
        Command::node("CONFIG|GET", "parameter [parameter ...]", get)
            .admin()
            .always()
            .noscript()
            .compare(Compare::Shape)
            .doc("2.0.0", "Returns the values of the directives that match patterns.")
            .complexity("O(N) when N is the number of configuration parameters provided"),
        Command::session("CONFIG|HELP", "", help)
            .always()
            .compare(Compare::Shape)
            .doc("5.0.0", "Returns this text."),
        Command::node("CONFIG|RESETSTAT", "", reset_stat)
            .admin()
            .always()
            .noscript()
            .tips(EVERYWHERE)
            .doc("2.0.0", "Sets what INFO counts back to zero."),
        Command::node("CONFIG|REWRITE", "", rewrite)
            .admin()
            .always()
            .noscript()
            .tips(EVERYWHERE)
            .compare(Compare::Shape)
            .doc("2.8.0", "Writes the values in force to the configuration file."),
        Command::node("CONFIG|SET", "parameter value [parameter value ...]", set)
            .admin()
            .always()
            .noscript()
            .tips(EVERYWHERE)
            .doc("2.0.0", "Sets directives, all or none.")
            .complexity("O(N) when N is the number of configuration parameters provided"),
    ],
)
.doc("2.0.0", "Reads and changes the configuration.");

const EVERYWHERE: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

fn get(node: &mut NodeContext<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    let patterns: Vec<String> = args.iter().skip(2).map(text).collect();
    let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    let values = node.config.get(&patterns);
    out.map(values.len());
    for (name, value) in values {
        out.bulk(name.as_bytes());
        out.bulk(value.as_bytes());
    }
    Ok(None)
}

fn set(node: &mut NodeContext<'_>, args: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    if args.len() % 2 == 1 {
        return Err(CommandError::Syntax.into());
    }
    let words: Vec<String> = args.iter().skip(2).map(text).collect();
    let pairs: Vec<(&str, &str)> =
        words.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    node.config.set(&pairs).map_err(|error| CommandError::other(error.to_string()))?;
    out.ok();
    Ok(None)
}

fn rewrite(node: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    node.config.rewrite().map_err(|error| CommandError::other(error.to_string()))?;
    out.ok();
    Ok(None)
}

fn reset_stat(node: &mut NodeContext<'_>, _: &Args, out: &mut ReplyWriter<'_>) -> Result<Option<Ask>> {
    node.stats.reset();
    out.ok();
    Ok(None)
}

/// Directives are text: bytes that are none match nothing and are refused as values.
fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}
