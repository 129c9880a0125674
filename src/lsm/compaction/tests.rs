use std::{error::Error, fmt::Write as _, str::FromStr, sync::Arc};

use bytes::Bytes;
use goldenscript::{ArgumentConsumer, Command, Context, Runner};

use super::{Plan, pending_bytes, pick};
use crate::lsm::{
    Levels, Position,
    table::Properties,
    version::{Edit, Flushed, Listed, Placed, Version},
};

/// Runs the scripts of the picker: versions are written down table by table, and what is picked is printed.
///
/// - `levels [runs=N] [base=N] [fan_out=N] [table=N] [compress=N]`: the shape; kept until it is set again
/// - `table ID level=N keys=FIRST..LAST [run=N] [bytes=N] [records=N] [tombstones=N] [dead=N] [dead_below=N]
///   [max_index=N]`: adds a table (100 bytes, 10 records and index 5 unless said otherwise)
/// - `pick`: prints the plan
/// - `settle`: prints plans, and carries them out, until there is none; a merge gives one table of all bytes
/// - `show`: prints the version
/// - `clear`: removes all tables
struct Script {
    levels: Levels,
    tables: Vec<Listed<()>>,
    next_id: u64,
}

type Outcome<T> = Result<T, Box<dyn Error>>;

impl Script {
    fn new() -> Script {
        let levels = Levels {
            level0_runs: 2,
            base_bytes: 1000,
            fan_out: 10,
            table_bytes: 100,
            compress_from: usize::MAX,
        };
        Script { levels, tables: Vec::new(), next_id: 100 }
    }

    fn version(&self) -> Version<()> {
        let copy = |listed: &Listed<()>| Listed {
            level: listed.level,
            run: listed.run,
            placed: listed.placed.clone(),
        };
        let flushed = Flushed { position: Position { index: 1000, term: 1 }, ..Flushed::default() };
        Version::new(1, flushed, self.tables.iter().map(copy).collect())
    }

    fn set_levels(&mut self, command: &Command) -> Outcome<String> {
        let mut args = command.consume_args();
        let levels = &mut self.levels;
        levels.level0_runs = number(&mut args, "runs")?.unwrap_or(levels.level0_runs);
        levels.base_bytes = number(&mut args, "base")?.unwrap_or(levels.base_bytes);
        levels.fan_out = number(&mut args, "fan_out")?.unwrap_or(levels.fan_out);
        levels.table_bytes = number(&mut args, "table")?.unwrap_or(levels.table_bytes);
        levels.compress_from = number(&mut args, "compress")?.unwrap_or(levels.compress_from);
        args.reject_next()?;
        Ok(String::new())
    }

    fn add_table(&mut self, command: &Command) -> Outcome<String> {
        let mut args = command.consume_args();
        let id = args.next_pos().ok_or("no id")?.parse()?;
        let keys = args.take_key("keys").ok_or("no keys")?;
        let (min_key, max_key) = keys.split_once("..").ok_or("keys are FIRST..LAST")?;
        let properties = Properties {
            id,
            file_bytes: number(&mut args, "bytes")?.unwrap_or(100),
            file_hash: 0,
            family: min_key.as_bytes()[0],
            min_key: Bytes::copy_from_slice(min_key.as_bytes()),
            max_key: Bytes::copy_from_slice(max_key.as_bytes()),
            base_index: 1,
            max_index: number(&mut args, "max_index")?.unwrap_or(5),
            records: number(&mut args, "records")?.unwrap_or(10),
            tombstones: number(&mut args, "tombstones")?.unwrap_or(0),
            raw_bytes: 0,
            data_blocks: 1,
        };
        let placed = Placed {
            properties: Arc::new(properties),
            dead_bytes: number(&mut args, "dead")?.unwrap_or(0),
            dead_below: number(&mut args, "dead_below")?.unwrap_or(0),
            table: Arc::new(()),
        };
        let level = number(&mut args, "level")?.ok_or("no level")?;
        self.tables.push(Listed { level, run: number(&mut args, "run")?.unwrap_or(0), placed });
        args.reject_next()?;
        Ok(String::new())
    }

    fn show(&self) -> Outcome<String> {
        let mut out = String::new();
        let version = self.version();
        for (level, run) in version.runs().filter(|(_, run)| !run.tables().is_empty()) {
            let name = if level == 0 { format!("0, run {}", run.number) } else { level.to_string() };
            let tables: Vec<String> = run
                .tables()
                .iter()
                .map(|placed| {
                    let key = |key: &Bytes| String::from_utf8_lossy(key).into_owned();
                    let (min, max) = (key(&placed.properties.min_key), key(&placed.properties.max_key));
                    format!("{}: {min}..{max} ({} bytes)", placed.id(), placed.bytes())
                })
                .collect();
            writeln!(out, "level {name}: {}", tables.join(", "))?;
        }
        writeln!(out, "pending: {} bytes", pending_bytes(&version, &self.levels))?;
        Ok(out)
    }

    fn pick(&self) -> Outcome<String> {
        Ok(pick(&self.version(), &self.levels).map_or("nothing".to_owned(), |plan| describe(&plan)))
    }

    /// Carries `plan` out on the tables.
    fn carry_out(&mut self, plan: &Plan) {
        let mut edit = Edit::default();
        let version = self.version();
        let is_in = |ids: &[u64], listed: &Listed<()>| ids.contains(&listed.placed.id());
        match plan {
            Plan::Drop { tables } => edit.removed.clone_from(tables),
            Plan::Move { tables, to, .. } => {
                edit.removed.clone_from(tables);
                let moved = version.listed().filter(|listed| is_in(tables, listed));
                edit.added.extend(moved.map(|listed| Listed { level: *to, run: 0, placed: listed.placed }));
            }
            Plan::Merge { inputs, to, .. } => {
                edit.removed.clone_from(inputs);
                let merged: Vec<_> = version.listed().filter(|listed| is_in(inputs, listed)).collect();
                let all = || merged.iter().map(|listed| &listed.placed.properties);
                let properties = Properties {
                    id: self.next_id,
                    file_bytes: all().map(|properties| properties.file_bytes).sum(),
                    records: all().map(|properties| properties.records).sum(),
                    tombstones: 0,
                    min_key: all().map(|properties| properties.min_key.clone()).min().unwrap(),
                    max_key: all().map(|properties| properties.max_key.clone()).max().unwrap(),
                    ..(*merged[0].placed.properties).clone()
                };
                self.next_id += 1;
                let run = if *to == 0 { merged[0].run } else { 0 };
                let placed = Placed {
                    properties: Arc::new(properties),
                    dead_bytes: 0,
                    dead_below: 0,
                    table: Arc::new(()),
                };
                edit.added.push(Listed { level: *to, run, placed });
            }
        }
        self.tables = version.edited(edit).listed().collect();
    }

    fn settle(&mut self) -> Outcome<String> {
        let mut out = String::new();
        for _ in 0..50 {
            let Some(plan) = pick(&self.version(), &self.levels) else {
                return Ok(out + &self.show()?);
            };
            writeln!(out, "{}", describe(&plan))?;
            self.carry_out(&plan);
        }
        Err("the picker does not come to an end".into())
    }
}

/// Takes a number out of the arguments.
fn number<T: FromStr<Err: Error + 'static>>(
    args: &mut ArgumentConsumer<'_>,
    key: &str,
) -> Outcome<Option<T>> {
    Ok(args.take_key(key).map(str::parse).transpose()?)
}

fn describe(plan: &Plan) -> String {
    let ids = |ids: &[u64]| ids.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
    match plan {
        Plan::Drop { tables } => format!("drop {}", ids(tables)),
        Plan::Move { tables, to, reason } => format!("move {} to level {to} ({reason:?})", ids(tables)),
        Plan::Merge { inputs, from, to, reason } => {
            format!("merge {} from level {from} to level {to} ({reason:?})", ids(inputs))
        }
    }
}

impl Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Outcome<String> {
        match command.name.as_str() {
            "levels" => self.set_levels(command),
            "table" => self.add_table(command),
            "pick" => self.pick(),
            "settle" => self.settle(),
            "show" => self.show(),
            "clear" => {
                self.tables.clear();
                Ok(String::new())
            }
            other => Err(format!("unknown command {other}").into()),
        }
    }
}

fn script(name: &str) {
    let path = format!("{}/src/lsm/testscripts/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    goldenscript::run(&mut Script::new(), path).unwrap();
}

#[test]
fn level0_is_merged_by_runs() {
    script("level0_is_merged_by_runs");
}

#[test]
fn runs_move_when_they_overlap_nothing() {
    script("runs_move_when_they_overlap_nothing");
}

#[test]
fn the_base_level_rises_with_the_bytes() {
    script("the_base_level_rises_with_the_bytes");
}

#[test]
fn a_large_level_gives_its_cheapest_table() {
    script("a_large_level_gives_its_cheapest_table");
}

#[test]
fn garbage_is_compacted_for_its_own_sake() {
    script("garbage_is_compacted_for_its_own_sake");
}
