//! The server.

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[
    Case(
        "BGSAVE",
        r#"
        BGSAVE => like "Background saving *"
        BGSAVE FOO => -ERR syntax error
        "#,
    ),
    Case(
        "COMMAND",
        "COMMAND => ?array\n3> COMMAND => ?array\nCOMMAND FOO => -ERR unknown subcommand 'FOO'. Try COMMAND HELP.",
    ),
    Case(
        "COMMAND|COUNT",
        "COMMAND COUNT => 50..999\nCOMMAND COUNT x => -ERR wrong number of arguments for 'command|count' command",
    ),
    Case(
        "COMMAND|DOCS",
        r#"
        COMMAND DOCS nosuch => []
        3> COMMAND DOCS nosuch => %[]
        3> COMMAND DOCS echo => %["echo", any %["summary", ?, "since", "1.0.0", "group", "connection", "complexity", ?, "arguments", [%["name", "message", "type", "string", "display_text", "message"]]]]
        "#,
    ),
    Case(
        "COMMAND|GETKEYS",
        r#"
        COMMAND GETKEYS MSET a 1 b 2 => ["a", "b"]
        COMMAND GETKEYS GET => -ERR Invalid number of arguments specified for command
        COMMAND GETKEYS PING => -ERR The command has no key arguments
        COMMAND GETKEYS NOSUCH x => -ERR Invalid command specified
        COMMAND GETKEYS OBJECT ENCODING k => ["k"]
        "#,
    ),
    Case(
        "COMMAND|GETKEYSANDFLAGS",
        r#"
        COMMAND GETKEYSANDFLAGS SET k v => [["k", [+OW, +update]]]
        COMMAND GETKEYSANDFLAGS SET k v GET => [["k", [+RW, +access, +update]]]
        3> COMMAND GETKEYSANDFLAGS RENAME a b => [["a", ~[+RW, +access, +delete]], ["b", ~[+OW, +update]]]
        COMMAND GETKEYSANDFLAGS PING => -ERR The command has no key arguments
        "#,
    ),
    Case(
        "COMMAND|HELP",
        "COMMAND HELP => ?array\nCOMMAND HELP x => -ERR wrong number of arguments for 'command|help' command",
    ),
    Case(
        "COMMAND|INFO",
        r#"
        COMMAND INFO nosuch => [nil]
        COMMAND INFO get => [["get", 2, [+readonly, +fast], 1, 1, 1, [+@read, +@string, +@fast], [], [["flags", [+RO, +access], "begin_search", ["type", "index", "spec", ["index", 1]], "find_keys", ["type", "range", "spec", ["lastkey", 0, "keystep", 1, "limit", 0]]]], []]]
        3> COMMAND INFO config|get => [["config|get", -3, ~[+admin, +noscript, +loading, +stale], 0, 0, 0, ~[+@admin, +@slow, +@dangerous], ~[], ~[], ~[]]]
        "#,
    ),
    Case(
        "COMMAND|LIST",
        r#"
        COMMAND LIST FILTERBY PATTERN get => ["get"]
        COMMAND LIST FILTERBY PATTERN config|[gs]et => any ["config|get", "config|set"]
        COMMAND LIST FILTERBY MODULE foo => []
        COMMAND LIST FILTERBY ACLCAT nosuch => []
        COMMAND LIST FILTERBY FOO x => -ERR syntax error
        COMMAND LIST FOO => -ERR syntax error
        "#,
    ),
    Case(
        "CONFIG|GET",
        r#"
        CONFIG GET timeout => ["timeout", "0"]
        3> CONFIG GET timeout TIMEOU[t] nosuch => %["timeout", "0"]
        CONFIG GET nosuch => []
        "#,
    ),
    Case(
        "CONFIG|HELP",
        "CONFIG HELP => ?array\nCONFIG HELP x => -ERR wrong number of arguments for 'config|help' command",
    ),
    Case(
        "CONFIG|RESETSTAT",
        r#"
        CONFIG RESETSTAT => OK
        INFO stats => like "*\r\ntotal_commands_processed:1\r\n*"
        "#,
    ),
    Case("CONFIG|REWRITE", "CONFIG REWRITE => -ERR The server is running without a config file"),
    Case(
        "CONFIG|SET",
        r#"
        CONFIG SET timeout 1000 slowlog-max-len 77 => OK
        CONFIG GET timeout => ["timeout", "1000"]
        CONFIG GET slowlog-max-len => ["slowlog-max-len", "77"]
        CONFIG SET timeout 0 slowlog-max-len 128 => OK
        CONFIG SET nosuch 1 => -ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'
        CONFIG SET timeout => -ERR wrong number of arguments for 'config|set' command
        CONFIG SET timeout 1 tcp-keepalive => -ERR syntax error
        CONFIG SET timeout x => ?error
        CONFIG SET port 1 => ?error
        "#,
    ),
    Case(
        "DBSIZE",
        r#"
        DBSIZE => 0
        MSET a 1 b 2 => OK
        DBSIZE => 2
        SELECT 1 => OK
        DBSIZE => 0
        DBSIZE x => -ERR wrong number of arguments for 'dbsize' command
        "#,
    ),
    Case("DEBUG|CHANGE-REPL-ID", "DEBUG CHANGE-REPL-ID => OK"),
    Case("DEBUG|DICT-RESIZING", "DEBUG DICT-RESIZING 0 => OK"),
    Case(
        "DEBUG|DIGEST",
        r#"
        DEBUG DIGEST => +0000000000000000000000000000000000000000
        SET k v => OK
        DEBUG DIGEST => ?
        DEBUG DIGEST x => -ERR unknown subcommand or wrong number of arguments for 'DIGEST'. Try DEBUG HELP.
        "#,
    ),
    Case("DEBUG|DIGEST-VALUE", "DEBUG DIGEST-VALUE none => [+0000000000000000000000000000000000000000]"),
    Case("DEBUG|ERROR", r#"DEBUG ERROR "CUSTOM text" => -CUSTOM text"#),
    Case("DEBUG|HELP", "DEBUG HELP => ?array"),
    Case("DEBUG|LOADAOF", "SET k v => OK\nDEBUG LOADAOF => OK\nGET k => \"v\""),
    Case("DEBUG|LOG", "DEBUG LOG hello => OK"),
    Case(
        "DEBUG|OBJECT",
        r#"
        SET k v => OK
        DEBUG OBJECT k => like "Value at:* refcount:1 encoding:embstr serializedlength:* lru:* lru_seconds_idle:*"
        DEBUG OBJECT none => -ERR no such key
        "#,
    ),
    Case("DEBUG|PAUSE-CRON", "DEBUG PAUSE-CRON 0 => OK"),
    Case(
        "DEBUG|POPULATE",
        r#"
        SET p:1 mine => OK
        DEBUG POPULATE 3 p 10 => OK
        MGET p:0 p:1 p:2 p:3 => ["value:0\x00\x00\x00", "mine", "value:2\x00\x00\x00", nil]
        DEBUG POPULATE x => -ERR value is out of range, must be positive
        "#,
    ),
    Case(
        "DEBUG|PROTOCOL",
        r#"
        DEBUG PROTOCOL string => "Hello World"
        3> DEBUG PROTOCOL map => %[0, #false, 1, #true, 2, #false]
        3> DEBUG PROTOCOL double => ,3.141
        3> DEBUG PROTOCOL set => ~[0, 1, 2]
        3> DEBUG PROTOCOL null => nil
        DEBUG PROTOCOL map => [0, 0, 1, 1, 2, 0]
        DEBUG PROTOCOL foo => -ERR Wrong protocol type name. Please use one of the following: string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false
        "#,
    ),
    Case(
        "DEBUG|QUICKLIST-PACKED-THRESHOLD",
        r#"
        DEBUG QUICKLIST-PACKED-THRESHOLD 100b => OK
        DEBUG QUICKLIST-PACKED-THRESHOLD x => -ERR argument must be a memory value bigger than 1 and smaller than 4gb
        "#,
    ),
    Case(
        "DEBUG|RELOAD",
        r#"
        SET k v EX 100 => OK
        HSET h a 1 => 1
        DEBUG RELOAD => OK
        GET k => "v"
        TTL k => 99..100
        HGETALL h => ["a", "1"]
        DEBUG RELOAD FOO => -ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.
        "#,
    ),
    Case("DEBUG|REPLYBUFFER", "DEBUG REPLYBUFFER RESIZING 0 => OK"),
    Case(
        "DEBUG|SET-ACTIVE-EXPIRE",
        r#"
        DEBUG SET-ACTIVE-EXPIRE 0 => OK
        DEBUG SET-ACTIVE-EXPIRE 1 => OK
        DEBUG SET-ACTIVE-EXPIRE => -ERR unknown subcommand or wrong number of arguments for 'SET-ACTIVE-EXPIRE'. Try DEBUG HELP.
        "#,
    ),
    Case("DEBUG|SET-DISABLE-DENY-SCRIPTS", "DEBUG SET-DISABLE-DENY-SCRIPTS 0 => OK"),
    Case(
        "DEBUG|SLEEP",
        r#"
        CONFIG SET latency-monitor-threshold 5 => OK
        DEBUG SLEEP 0.02 => OK
        LATENCY HISTORY command => [[1000000000..9999999999, 20..9999]]
        DEBUG SLEEP => -ERR unknown subcommand or wrong number of arguments for 'SLEEP'. Try DEBUG HELP.
        "#,
    ),
    Case("DEBUG|STRINGMATCH-LEN", "DEBUG STRINGMATCH-LEN a*c abc => 1\nDEBUG STRINGMATCH-LEN a*d abc => 0"),
    Case(
        "FLUSHALL",
        r#"
        SET k v => OK
        SELECT 3 => OK
        SET k v => OK
        FLUSHALL => OK
        DBSIZE => 0
        SELECT 0 => OK
        DBSIZE => 0
        FLUSHALL ASYNC => OK
        FLUSHALL SYNC => OK
        FLUSHALL FOO => -ERR syntax error
        "#,
    ),
    Case(
        "FLUSHDB",
        r#"
        SET k v => OK
        SELECT 3 => OK
        SET k v => OK
        FLUSHDB => OK
        DBSIZE => 0
        SELECT 0 => OK
        DBSIZE => 1
        FLUSHDB ASYNC => OK
        DBSIZE => 0
        FLUSHDB FOO => -ERR syntax error
        "#,
    ),
    Case(
        "FAILOVER",
        r#"
        FAILOVER => -ERR FAILOVER requires connected replicas.
        FAILOVER TO 127.0.0.1 1 => -ERR FAILOVER requires connected replicas.
        FAILOVER ABORT => -ERR No failover in progress.
        FAILOVER TIMEOUT 0 => -ERR FAILOVER timeout must be greater than 0
        FAILOVER TIMEOUT x => -ERR value is not an integer or out of range
        FAILOVER TO a b => -ERR value is not an integer or out of range
        FAILOVER TO => -ERR syntax error
        FAILOVER TIMEOUT 10 ABORT => -ERR syntax error
        FAILOVER foo => -ERR syntax error
        "#,
    ),
    Case(
        "INFO",
        r##"
        INFO => like "# Server\r\nredis_version:7.2.4\r\n*"
        INFO keyspace => "# Keyspace\r\n"
        SET k v => OK
        INFO KEYSPACE => like "# Keyspace\r\ndb0:keys=1,expires=0,avg_ttl=0*"
        INFO nosuch => ""
        3> INFO server => like "# Server\r\n*"
        "##,
    ),
    Case(
        "LASTSAVE",
        "LASTSAVE => 1000000000..9999999999\nLASTSAVE x => -ERR wrong number of arguments for 'lastsave' command",
    ),
    Case(
        "LATENCY|DOCTOR",
        r#"
        LATENCY DOCTOR => like "*atency*"
        CONFIG SET latency-monitor-threshold 5 => OK
        LATENCY RESET => ?
        LATENCY DOCTOR => like "*o latency spike*"
        CONFIG SET latency-monitor-threshold 0 => OK
        "#,
    ),
    Case(
        "LATENCY|GRAPH",
        r#"
        CONFIG SET latency-monitor-threshold 5 => OK
        DEBUG SLEEP 0.02 => OK
        LATENCY GRAPH command => like "command - high * ms, low * ms (all time high * ms)\n*"
        LATENCY GRAPH nosuch => -ERR No samples available for event 'nosuch'
        CONFIG SET latency-monitor-threshold 0 => OK
        "#,
    ),
    Case(
        "LATENCY|HELP",
        "LATENCY HELP => ?array\nLATENCY HELP x => -ERR wrong number of arguments for 'latency|help' command",
    ),
    Case(
        "LATENCY|HISTOGRAM",
        r#"
        CONFIG RESETSTAT => OK
        SET k v => OK
        LATENCY HISTOGRAM set nosuch => ["set", ["calls", 1, "histogram_usec", [?, 1]]]
        LATENCY HISTOGRAM nosuch => []
        "#,
    ),
    Case(
        "LATENCY|HISTORY",
        r#"
        CONFIG SET latency-monitor-threshold 5 => OK
        LATENCY RESET => ?
        DEBUG SLEEP 0.02 => OK
        LATENCY HISTORY command => [[1000000000..9999999999, 20..9999]]
        LATENCY HISTORY nosuch => []
        CONFIG SET latency-monitor-threshold 0 => OK
        "#,
    ),
    Case(
        "LATENCY|LATEST",
        r#"
        CONFIG SET latency-monitor-threshold 5 => OK
        LATENCY RESET => ?
        LATENCY LATEST => []
        DEBUG SLEEP 0.02 => OK
        LATENCY LATEST => [["command", 1000000000..9999999999, 20..9999, 20..9999]]
        CONFIG SET latency-monitor-threshold 0 => OK
        "#,
    ),
    Case(
        "LATENCY|RESET",
        r#"
        CONFIG SET latency-monitor-threshold 5 => OK
        DEBUG SLEEP 0.02 => OK
        LATENCY RESET nosuch => 0
        LATENCY RESET => 1..9
        LATENCY RESET => 0
        CONFIG SET latency-monitor-threshold 0 => OK
        "#,
    ),
    Case(
        "LOLWUT",
        "LOLWUT => like \"*Redis ver. *\"\nLOLWUT VERSION x => -ERR value is not an integer or out of range",
    ),
    Case(
        "MEMORY|DOCTOR",
        "MEMORY DOCTOR => like \"* bytes*\"\nMEMORY DOCTOR x => -ERR wrong number of arguments for 'memory|doctor' command",
    ),
    Case(
        "MEMORY|HELP",
        "MEMORY HELP => ?array\nMEMORY HELP x => -ERR wrong number of arguments for 'memory|help' command",
    ),
    Case(
        "MEMORY|MALLOC-STATS",
        "MEMORY MALLOC-STATS => like \"Stats *\"\nMEMORY MALLOC-STATS x => -ERR wrong number of arguments for 'memory|malloc-stats' command",
    ),
    Case(
        "MEMORY|PURGE",
        "MEMORY PURGE => OK\nMEMORY PURGE x => -ERR wrong number of arguments for 'memory|purge' command",
    ),
    Case(
        "MEMORY|STATS",
        "3> MEMORY STATS => ?map\nMEMORY STATS x => -ERR wrong number of arguments for 'memory|stats' command",
    ),
    Case(
        "MEMORY|USAGE",
        r#"
        SET k 0123456789 => OK
        MEMORY USAGE k => 20..100
        MEMORY USAGE k SAMPLES 0 => 20..100
        MEMORY USAGE none => nil
        MEMORY USAGE k SAMPLES -1 => -ERR syntax error
        MEMORY USAGE k SAMPLES x => -ERR value is not an integer or out of range
        MEMORY USAGE k FOO => -ERR syntax error
        "#,
    ),
    Case(
        "MODULE|HELP",
        "MODULE HELP => ?array\nMODULE HELP x => -ERR wrong number of arguments for 'module|help' command",
    ),
    Case(
        "MODULE|LIST",
        "MODULE LIST => []\n3> MODULE LIST => []\nMODULE LIST x => -ERR wrong number of arguments for 'module|list' command",
    ),
    Case(
        "ROLE",
        "ROLE => [\"master\", 0..999999999, []]\nROLE x => -ERR wrong number of arguments for 'role' command",
    ),
    Case(
        "SAVE",
        r#"
        SET k v => OK
        SAVE => OK
        INFO persistence => like "*\r\nrdb_changes_since_last_save:0\r\n*"
        SAVE x => -ERR wrong number of arguments for 'save' command
        "#,
    ),
    Case(
        "SHUTDOWN",
        "SHUTDOWN ABORT => -ERR No shutdown in progress.\nSHUTDOWN FOO => -ERR syntax error\nSHUTDOWN NOSAVE => closed",
    ),
    Case(
        "SLOWLOG|GET",
        r#"
        CONFIG SET slowlog-log-slower-than 0 => OK
        SLOWLOG RESET => OK
        SET k v => OK
        CONFIG SET slowlog-log-slower-than 10000 => OK
        SLOWLOG GET -1 => [[?, 1000000000..9999999999, ?, ["SET", "k", "v"], like "127.0.0.1:*", ""], ?]
        SLOWLOG GET 0 => []
        SLOWLOG GET x => -ERR count should be greater than or equal to -1
        SLOWLOG GET -2 => -ERR count should be greater than or equal to -1
        "#,
    ),
    Case(
        "SLOWLOG|HELP",
        "SLOWLOG HELP => ?array\nSLOWLOG HELP x => -ERR wrong number of arguments for 'slowlog|help' command",
    ),
    Case(
        "SLOWLOG|LEN",
        r#"
        CONFIG SET slowlog-log-slower-than 0 => OK
        SLOWLOG RESET => OK
        SET k v => OK
        CONFIG SET slowlog-log-slower-than 10000 => OK
        SLOWLOG LEN => 2
        "#,
    ),
    Case(
        "SLOWLOG|RESET",
        r#"
        CONFIG SET slowlog-log-slower-than 0 => OK
        SET k v => OK
        CONFIG SET slowlog-log-slower-than 10000 => OK
        SLOWLOG LEN => 1..999
        SLOWLOG RESET => OK
        SLOWLOG LEN => 0
        "#,
    ),
    Case("TIME", "TIME => [?, ?]\nTIME x => -ERR wrong number of arguments for 'time' command"),
];
