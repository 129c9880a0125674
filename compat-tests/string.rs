//! Strings.

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[
    Case(
        "APPEND",
        r#"
        APPEND k "a\x00" => 2
        APPEND k b => 3
        GET k => "a\x00b"
        HSET h f v => 1
        APPEND h x => -WRONGTYPE Operation against a key holding the wrong kind of value
        APPEND k => -ERR wrong number of arguments for 'append' command
        "#,
    ),
    Case(
        "DECR",
        r#"
        DECR n => -1
        SET n -9223372036854775808 => OK
        DECR n => -ERR increment or decrement would overflow
        HSET h f v => 1
        DECR h => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "DECRBY",
        r#"
        DECRBY n 5 => -5
        DECRBY n -9223372036854775808 => -ERR decrement would overflow
        DECRBY n 1.5 => -ERR value is not an integer or out of range
        SET s x => OK
        DECRBY s 1 => -ERR value is not an integer or out of range
        HSET h f v => 1
        DECRBY h 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "GET",
        r#"
        GET none => nil
        SET k "va\r\nl\x00ue" => OK
        GET k => "va\r\nl\x00ue"
        3> GET none => nil
        SET "" empty => OK
        GET "" => "empty"
        HSET h f v => 1
        GET h => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "GETDEL",
        r#"
        GETDEL none => nil
        SET k v EX 100 => OK
        GETDEL k => "v"
        EXISTS k => 0
        HSET h f v => 1
        GETDEL h => -WRONGTYPE Operation against a key holding the wrong kind of value
        EXISTS h => 1
        "#,
    ),
    Case(
        "GETEX",
        r#"
        GETEX none EX 10 => nil
        SET k v => OK
        GETEX k EX 100 => "v"
        TTL k => 99..100
        GETEX k PERSIST => "v"
        TTL k => -1
        GETEX k PXAT 1 => "v"
        EXISTS k => 0
        SET k v => OK
        GETEX k EX 0 => -ERR invalid expire time in 'getex' command
        GETEX k EX 1 PERSIST => -ERR syntax error
        GETEX k EX x => -ERR value is not an integer or out of range
        HSET h f v => 1
        GETEX h => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "GETRANGE",
        r#"
        SET k "This is a string" => OK
        GETRANGE k 0 3 => "This"
        GETRANGE k -6 -1 => "string"
        GETRANGE k 5 -100 => ""
        GETRANGE k 10 9223372036854775807 => "string"
        GETRANGE none 0 -1 => ""
        GETRANGE k a 1 => -ERR value is not an integer or out of range
        HSET h f v => 1
        GETRANGE h 0 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "GETSET",
        r#"
        GETSET k a => nil
        EXPIRE k 100 => 1
        GETSET k b => "a"
        TTL k => -1
        HSET h f v => 1
        GETSET h x => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "INCR",
        r#"
        INCR n => 1
        SET n 9223372036854775807 => OK
        INCR n => -ERR increment or decrement would overflow
        SET s " 1" => OK
        INCR s => -ERR value is not an integer or out of range
        HSET h f v => 1
        INCR h => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "INCRBY",
        r#"
        INCRBY n -3 => -3
        INCRBY n 9223372036854775807 => 9223372036854775804
        INCRBY n 9 => -ERR increment or decrement would overflow
        INCRBY n "" => -ERR value is not an integer or out of range
        HSET h f v => 1
        INCRBY h 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "INCRBYFLOAT",
        r#"
        INCRBYFLOAT n 10.50 => "10.5"
        INCRBYFLOAT n 0.1 => "10.6"
        INCRBYFLOAT n -5 => "5.6"
        SET n 5.0e3 => OK
        INCRBYFLOAT n 2.0e2 => "5200"
        INCRBYFLOAT n abc => -ERR value is not a valid float
        INCRBYFLOAT n inf => -ERR increment would produce NaN or Infinity
        SET s x => OK
        INCRBYFLOAT s 1 => -ERR value is not a valid float
        HSET h f v => 1
        INCRBYFLOAT h 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "LCS",
        r#"
        MSET k1 ohmytext k2 mynewtext => OK
        LCS k1 k2 => "mytext"
        LCS k1 k2 LEN => 6
        LCS k1 k2 IDX => ["matches", [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], "len", 6]
        LCS k1 k2 IDX MINMATCHLEN 4 WITHMATCHLEN => ["matches", [[[4, 7], [5, 8], 4]], "len", 6]
        3> LCS k1 k2 IDX MINMATCHLEN 5 => %["matches", [], "len", 6]
        LCS k1 none => ""
        LCS k1 k2 IDX LEN => -ERR If you want both the length and indexes, please just use IDX.
        HSET h f v => 1
        LCS k1 h => -ERR The specified keys must contain string values
        "#,
    ),
    Case(
        "MGET",
        r#"
        MSET a 1 b 2 => OK
        HSET h f v => 1
        MGET a none h b a => ["1", nil, nil, "2", "1"]
        MGET => -ERR wrong number of arguments for 'mget' command
        "#,
    ),
    Case(
        "MSET",
        r#"
        MSET a 1 b 2 a 3 => OK
        GET a => "3"
        HSET h f v => 1
        MSET h x => OK
        TYPE h => +string
        MSET a 1 b => -ERR wrong number of arguments for 'mset' command
        "#,
    ),
    Case(
        "MSETNX",
        r#"
        MSETNX a 1 b 2 => 1
        MSETNX b 3 c 4 => 0
        EXISTS c => 0
        MSETNX x 1 y => -ERR wrong number of arguments for 'msetnx' command
        "#,
    ),
    Case(
        "PSETEX",
        r#"
        PSETEX k 100000 v => OK
        PTTL k => 90000..100000
        PSETEX k 0 v => -ERR invalid expire time in 'psetex' command
        PSETEX k x v => -ERR value is not an integer or out of range
        "#,
    ),
    Case(
        "SET",
        r#"
        SET k v => OK
        SET k w NX => nil
        3> SET k w NX => nil
        SET k w XX => OK
        SET n w XX => nil
        SET k x GET => "w"
        SET k y NX GET => "x"
        GET k => "x"
        SET n y NX GET => nil
        GET n => "y"
        SET k v EX 100 => OK
        TTL k => 99..100
        SET k v KEEPTTL => OK
        TTL k => 99..100
        SET k v => OK
        TTL k => -1
        SET k v PXAT 1 => OK
        EXISTS k => 0
        SET k v EX 0 => -ERR invalid expire time in 'set' command
        SET k v EX 9223372036854775807 => -ERR invalid expire time in 'set' command
        SET k v EX x => -ERR value is not an integer or out of range
        SET k v NX XX => -ERR syntax error
        SET k v EX 1 PX 1 => -ERR syntax error
        SET k v EX 1 KEEPTTL => -ERR syntax error
        SET k v PX => -ERR syntax error
        HSET h f v => 1
        SET h v GET => -WRONGTYPE Operation against a key holding the wrong kind of value
        SET h v => OK
        TYPE h => +string
        "#,
    ),
    Case(
        "SETEX",
        r#"
        SETEX k 100 v => OK
        TTL k => 99..100
        SETEX k -1 v => -ERR invalid expire time in 'setex' command
        SETEX k 9223372036854775807 v => -ERR invalid expire time in 'setex' command
        GET k => "v"
        "#,
    ),
    Case(
        "SETNX",
        r#"
        SETNX k a => 1
        SETNX k b => 0
        GET k => "a"
        HSET h f v => 1
        SETNX h x => 0
        "#,
    ),
    Case(
        "SETRANGE",
        r#"
        SETRANGE k 3 abc => 6
        GET k => "\x00\x00\x00abc"
        SETRANGE k 0 x => 6
        SETRANGE none 5 "" => 0
        EXISTS none => 0
        SETRANGE k -1 x => -ERR offset is out of range
        SETRANGE k 9223372036854775807 x => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
        SETRANGE k x x => -ERR value is not an integer or out of range
        HSET h f v => 1
        SETRANGE h 0 x => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "STRLEN",
        r#"
        SET k "a\x00b" => OK
        STRLEN k => 3
        SET n 12345 => OK
        STRLEN n => 5
        STRLEN none => 0
        HSET h f v => 1
        STRLEN h => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "SUBSTR",
        r#"
        SET k string => OK
        SUBSTR k 1 -2 => "trin"
        SUBSTR none 0 1 => ""
        SUBSTR k 0 x => -ERR value is not an integer or out of range
        HSET h f v => 1
        SUBSTR h 0 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
];
