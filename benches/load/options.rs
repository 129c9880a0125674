//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

/// What `--help`, and a start without `--port`, print.
pub(crate) const USAGE: &str = "\
load --port PORT [option value ...]

  --host ADDRESS        127.0.0.1
  --connections N       50
  --pipeline N          commands sent at once on a connection (16)
  --threads N           threads of this program (1)
  --seconds N           how long (10)
  --warmup N            seconds at the start that the figures leave out (0)
  --keys N              different keys (1000000)
  --value-bytes N       16 or more (64)
  --reads PERCENT       share of GETs (0)
  --preload yes         write every key once, in order, and end
  --rate N              commands a second in all; 0 is as many as it can (0)
  --seed N              what the values and the choice of keys depend on (1)
  --ledger FILE         keep what was acknowledged; goes on from it if it is there
  --verify N            read N acknowledged keys of the ledger, 0 for all, and compare; DBSIZE too
  --dbsize yes|no       with --verify: DBSIZE must lie between acknowledged and sent (yes)
  --json yes            print the figures as one line of JSON";

/// What was asked for, checked.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) connections: u64,
    pub(crate) pipeline: usize,
    pub(crate) threads: u64,
    pub(crate) seconds: u64,
    pub(crate) warmup: u64,
    pub(crate) keys: u64,
    pub(crate) value_bytes: usize,
    pub(crate) reads: u32,
    pub(crate) preload: bool,
    pub(crate) rate: u64,
    pub(crate) seed: u64,
    pub(crate) ledger: Option<PathBuf>,
    pub(crate) verify: Option<u64>,
    pub(crate) dbsize: bool,
    pub(crate) json: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 0,
            connections: 50,
            pipeline: 16,
            threads: 1,
            seconds: 10,
            warmup: 0,
            keys: 1_000_000,
            value_bytes: 64,
            reads: 0,
            preload: false,
            rate: 0,
            seed: 1,
            ledger: None,
            verify: None,
            dbsize: true,
            json: false,
        }
    }
}

impl Options {
    /// Reads `--name value` pairs. `None` when help was asked for, or no port given.
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self::default();
        while let Some(name) = args.next() {
            match name.as_str() {
                "--help" => return Ok(None),
                "--bench" => continue, // What `cargo bench` adds.
                _ => {}
            }
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            options.set(&name, &value)?;
        }
        if options.port == 0 {
            return Ok(None);
        }
        options.check()?;
        Ok(Some(options))
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "--host" => value.clone_into(&mut self.host),
            "--port" => self.port = number(name, value)?,
            "--connections" => self.connections = number(name, value)?,
            "--pipeline" => self.pipeline = number(name, value)?,
            "--threads" => self.threads = number(name, value)?,
            "--seconds" => self.seconds = number(name, value)?,
            "--warmup" => self.warmup = number(name, value)?,
            "--keys" => self.keys = number(name, value)?,
            "--value-bytes" => self.value_bytes = number(name, value)?,
            "--reads" => self.reads = number(name, value)?,
            "--preload" => self.preload = yes(name, value)?,
            "--rate" => self.rate = number(name, value)?,
            "--seed" => self.seed = number(name, value)?,
            "--ledger" => self.ledger = Some(PathBuf::from(value)),
            "--verify" => self.verify = Some(number(name, value)?),
            "--dbsize" => self.dbsize = yes(name, value)?,
            "--json" => self.json = yes(name, value)?,
            _ => return Err(format!("unknown option {name}; see --help")),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let at_least = |name: &str, ok: bool| if ok { Ok(()) } else { Err(format!("{name} is too small")) };
        at_least("--connections", self.connections >= self.threads)?;
        at_least("--threads", self.threads >= 1)?;
        at_least("--pipeline", self.pipeline >= 1)?;
        at_least("--keys", self.keys >= self.connections)?;
        at_least("--value-bytes", self.value_bytes >= 16)?;
        at_least("--seconds", self.seconds > self.warmup)?;
        if self.reads > 100 {
            return Err("--reads is a percentage".to_owned());
        }
        if self.verify.is_some() && self.ledger.is_none() {
            return Err("--verify needs the --ledger of what was acknowledged".to_owned());
        }
        Ok(())
    }
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name}: {value} is not a number in its range"))
}

fn yes(name: &str, value: &str) -> Result<bool, String> {
    match value {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(format!("{name} is yes or no, not {value}")),
    }
}
