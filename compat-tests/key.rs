//! Keys of any type.

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[
    Case(
        "COPY",
        r#"
        HSET h a 1 => 1
        EXPIRE h 100 => 1
        COPY h g => 1
        HGETALL g => ["a", "1"]
        TTL g => 99..100
        HSET g b 2 => 1
        HLEN h => 1
        COPY h g => 0
        COPY h g REPLACE => 1
        HLEN g => 1
        COPY h h DB 3 => 1
        COPY none x => 0
        COPY h h => -ERR source and destination objects are the same
        COPY h x DB 99 => -ERR DB index is out of range
        COPY h x DB a => -ERR value is not an integer or out of range
        COPY h x FOO => -ERR syntax error
        "#,
    ),
    Case(
        "DEL",
        r#"
        MSET a 1 b 2 => OK
        HSET h f v => 1
        DEL a h none a => 2
        EXISTS a b h => 1
        DEL => -ERR wrong number of arguments for 'del' command
        "#,
    ),
    Case(
        "EXISTS",
        r#"
        MSET a 1 b 2 => OK
        EXISTS a b none a => 3
        EXISTS none => 0
        "#,
    ),
    Case(
        "EXPIRE",
        r#"
        SET k v => OK
        EXPIRE k 100 => 1
        TTL k => 99..100
        EXPIRE k 200 NX => 0
        EXPIRE k 50 GT => 0
        EXPIRE k 200 GT => 1
        EXPIRE k 50 LT => 1
        EXPIRE k 60 XX => 1
        EXPIRE none 10 => 0
        EXPIRE k 10 NX XX => -ERR NX and XX, GT or LT options at the same time are not compatible
        EXPIRE k 10 GT LT => -ERR GT and LT options at the same time are not compatible
        EXPIRE k 10 FOO => -ERR Unsupported option FOO
        EXPIRE k x => -ERR value is not an integer or out of range
        EXPIRE k 9223372036854775807 => -ERR invalid expire time in 'expire' command
        EXPIRE k -1 => 1
        EXISTS k => 0
        "#,
    ),
    Case(
        "EXPIREAT",
        r#"
        SET k v => OK
        EXPIREAT k 33177117420 => 1
        EXPIRETIME k => 33177117420
        EXPIREAT k 33177117421 NX => 0
        EXPIREAT k 1 => 1
        EXISTS k => 0
        EXPIREAT none 33177117420 => 0
        SET k v => OK
        EXPIREAT k 9223372036854775807 => -ERR invalid expire time in 'expireat' command
        "#,
    ),
    Case(
        "EXPIRETIME",
        r#"
        SET k v EXAT 33177117420 => OK
        EXPIRETIME k => 33177117420
        PERSIST k => 1
        EXPIRETIME k => -1
        EXPIRETIME none => -2
        "#,
    ),
    Case(
        "KEYS",
        r#"
        MSET one 1 two 2 three 3 "x\x00" 4 h?llo 5 => OK
        KEYS t* => any ["two", "three"]
        KEYS * => any ["one", "two", "three", "x\x00", "h?llo"]
        KEYS h\?llo => ["h?llo"]
        KEYS [^a-z]?? => []
        KEYS [no][nw][eo] => ["one"]
        KEYS none => []
        "#,
    ),
    Case(
        "MOVE",
        r#"
        SET k v EX 100 => OK
        MOVE k 5 => 1
        EXISTS k => 0
        SELECT 5 => OK
        TTL k => 99..100
        SELECT 0 => OK
        SET k w => OK
        MOVE k 5 => 0
        MOVE none 5 => 0
        MOVE k 0 => -ERR source and destination objects are the same
        MOVE k 99 => -ERR DB index is out of range
        MOVE k x => -ERR value is not an integer or out of range
        "#,
    ),
    Case(
        "OBJECT|ENCODING",
        r#"
        SET i 123 => OK
        OBJECT ENCODING i => "int"
        SET s abc => OK
        OBJECT ENCODING s => "embstr"
        SET r "0123456789012345678901234567890123456789012345678901234567890123456789" => OK
        OBJECT ENCODING r => "raw"
        HSET h f v => 1
        OBJECT ENCODING h => "listpack"
        OBJECT ENCODING none => nil
        "#,
    ),
    Case(
        "OBJECT|FREQ",
        r#"
        SET k v => OK
        OBJECT FREQ k => -ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.
        OBJECT FREQ none => nil
        "#,
    ),
    Case(
        "OBJECT|HELP",
        "OBJECT HELP => ?array\nOBJECT HELP x => -ERR wrong number of arguments for 'object|help' command",
    ),
    Case(
        "OBJECT|IDLETIME",
        r#"
        SET k v => OK
        OBJECT IDLETIME k => 0..1
        OBJECT IDLETIME none => nil
        "#,
    ),
    Case(
        "OBJECT|REFCOUNT",
        r#"
        SET k v => OK
        OBJECT REFCOUNT k => 1
        OBJECT REFCOUNT none => nil
        "#,
    ),
    Case(
        "PERSIST",
        r#"
        SET k v EX 100 => OK
        PERSIST k => 1
        TTL k => -1
        PERSIST k => 0
        PERSIST none => 0
        "#,
    ),
    Case(
        "PEXPIRE",
        r#"
        SET k v => OK
        PEXPIRE k 100000 => 1
        PTTL k => 90000..100000
        PEXPIRE k 0 => 1
        EXISTS k => 0
        PEXPIRE none 1 => 0
        SET k v => OK
        PEXPIRE k 9223372036854775807 => -ERR invalid expire time in 'pexpire' command
        "#,
    ),
    Case(
        "PEXPIREAT",
        r#"
        SET k v => OK
        PEXPIREAT k 33177117420123 => 1
        PEXPIRETIME k => 33177117420123
        PEXPIREAT k 1 => 1
        EXISTS k => 0
        PEXPIREAT none 1 => 0
        PEXPIREAT k x => -ERR value is not an integer or out of range
        "#,
    ),
    Case(
        "PEXPIRETIME",
        r#"
        SET k v PXAT 33177117420123 => OK
        PEXPIRETIME k => 33177117420123
        PERSIST k => 1
        PEXPIRETIME k => -1
        PEXPIRETIME none => -2
        "#,
    ),
    Case(
        "PTTL",
        r#"
        SET k v PX 100000 => OK
        PTTL k => 90000..100000
        PERSIST k => 1
        PTTL k => -1
        PTTL none => -2
        "#,
    ),
    Case(
        "RANDOMKEY",
        r#"
        RANDOMKEY => nil
        SET k v => OK
        RANDOMKEY => "k"
        "#,
    ),
    Case(
        "RENAME",
        r#"
        HSET h f v => 1
        EXPIRE h 100 => 1
        SET g x => OK
        RENAME h g => OK
        HGETALL g => ["f", "v"]
        TTL g => 99..100
        RENAME g g => OK
        RENAME none x => -ERR no such key
        "#,
    ),
    Case(
        "RENAMENX",
        r#"
        MSET a 1 b 2 => OK
        RENAMENX a b => 0
        RENAMENX a c => 1
        GET c => "1"
        RENAMENX b b => 0
        RENAMENX none x => -ERR no such key
        "#,
    ),
    Case(
        "SCAN",
        r#"
        MSET a 1 b 2 => OK
        HSET h f v => 1
        SCAN 0 COUNT 100 => ["0", any ["a", "b", "h"]]
        SCAN 0 MATCH a* COUNT 100 => ["0", ["a"]]
        SCAN 0 TYPE hash COUNT 100 => ["0", ["h"]]
        SCAN 0 COUNT 0 => -ERR syntax error
        SCAN x => -ERR invalid cursor
        SCAN 0 MATCH => -ERR syntax error
        "#,
    ),
    Case(
        "SWAPDB",
        r#"
        SET k zero => OK
        SELECT 3 => OK
        SET k three => OK
        SWAPDB 0 3 => OK
        GET k => "zero"
        SELECT 0 => OK
        GET k => "three"
        SWAPDB 0 0 => OK
        SWAPDB a 0 => -ERR invalid first DB index
        SWAPDB 0 a => -ERR invalid second DB index
        SWAPDB 0 99 => -ERR DB index is out of range
        "#,
    ),
    Case(
        "TOUCH",
        r#"
        MSET a 1 b 2 => OK
        TOUCH a b none a => 3
        "#,
    ),
    Case(
        "TTL",
        r#"
        SET k v EX 100 => OK
        TTL k => 99..100
        PERSIST k => 1
        TTL k => -1
        TTL none => -2
        "#,
    ),
    Case(
        "TYPE",
        r#"
        SET s v => OK
        HSET h f v => 1
        TYPE s => +string
        TYPE h => +hash
        TYPE none => +none
        "#,
    ),
    Case(
        "UNLINK",
        r#"
        MSET a 1 b 2 => OK
        UNLINK a none b b => 2
        EXISTS a b => 0
        "#,
    ),
    Case(
        "WAIT",
        r#"
        SET k v => OK
        WAIT 0 0 => 0
        WAIT 1 0 => 0
        WAIT 5 10 => 0
        WAIT x 0 => -ERR value is not an integer or out of range
        WAIT 1 x => -ERR timeout is not an integer or out of range
        WAIT 1 -1 => -ERR timeout is negative
        MULTI => OK
        WAIT 1 0 => +QUEUED
        EXEC => [0]
        "#,
    ),
    Case(
        "WAITAOF",
        r#"
        SET k v => OK
        WAITAOF 1 0 0 => [1, 0]
        WAITAOF 0 1 0 => [1, 0]
        WAITAOF 2 0 0 => -ERR value is out of range, value must between 0 and 1
        WAITAOF 1 0 -1 => -ERR timeout is negative
        "#,
    ),
];
