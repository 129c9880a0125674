//! Hashes.

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[
    Case(
        "HDEL",
        r#"
        HSET h a 1 b 2 c 3 => 3
        HDEL h a none b a => 2
        HDEL h c => 1
        EXISTS h => 0
        HDEL none f => 0
        SET s v => OK
        HDEL s f => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "HEXISTS",
        r#"
        HSET h "f\x00" v => 1
        HEXISTS h "f\x00" => 1
        HEXISTS h f => 0
        HEXISTS none f => 0
        SET s v => OK
        HEXISTS s f => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "HGET",
        r#"
        HSET h f "v\n" => 1
        HGET h f => "v\n"
        HGET h none => nil
        HGET none f => nil
        3> HGET none f => nil
        SET s v => OK
        HGET s f => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "HGETALL",
        r#"
        HSET h a 1 b 2 => 2
        HGETALL h => ["a", "1", "b", "2"]
        3> HGETALL h => %["a", "1", "b", "2"]
        HGETALL none => []
        3> HGETALL none => %[]
        SET s v => OK
        HGETALL s => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "HINCRBY",
        r#"
        HINCRBY h f 5 => 5
        HINCRBY h f -7 => -2
        HSET h s x max 9223372036854775807 => 2
        HINCRBY h s 1 => -ERR hash value is not an integer
        HINCRBY h max 1 => -ERR increment or decrement would overflow
        HINCRBY h f 1.5 => -ERR value is not an integer or out of range
        SET s v => OK
        HINCRBY s f 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "HINCRBYFLOAT",
        r#"
        HINCRBYFLOAT h f 10.50 => "10.5"
        HINCRBYFLOAT h f 0.1 => "10.6"
        HSET h s x => 1
        HINCRBYFLOAT h s 1 => -ERR hash value is not a float
        HINCRBYFLOAT h f x => -ERR value is not a valid float
        HINCRBYFLOAT h f inf => -ERR value is NaN or Infinity
        SET s v => OK
        HINCRBYFLOAT s f 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "HKEYS",
        r#"
        HSET h a 1 b 2 => 2
        HKEYS h => ["a", "b"]
        HKEYS none => []
        SET s v => OK
        HKEYS s => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "HLEN",
        r#"
        HSET h a 1 b 2 => 2
        HLEN h => 2
        HLEN none => 0
        SET s v => OK
        HLEN s => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "HMGET",
        r#"
        HSET h a 1 b 2 => 2
        HMGET h b none a b => ["2", nil, "1", "2"]
        HMGET none a b => [nil, nil]
        SET s v => OK
        HMGET s a => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "HMSET",
        r#"
        HMSET h a 1 b 2 => OK
        HGETALL h => ["a", "1", "b", "2"]
        HMSET h a 1 b => -ERR wrong number of arguments for 'hmset' command
        SET s v => OK
        HMSET s a 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        TYPE h => +hash
        "#,
    ),
    Case(
        "HRANDFIELD",
        r#"
        HSET h a 1 => 1
        HRANDFIELD h => "a"
        HRANDFIELD h 5 => ["a"]
        HRANDFIELD h -3 => ["a", "a", "a"]
        HRANDFIELD h 1 WITHVALUES => ["a", "1"]
        3> HRANDFIELD h 1 WITHVALUES => [["a", "1"]]
        HSET h b 2 => 1
        HRANDFIELD h 2 WITHVALUES => any ["a", "1", "b", "2"]
        HRANDFIELD h 0 => []
        HRANDFIELD none => nil
        HRANDFIELD none 2 => []
        HRANDFIELD h x => -ERR value is not an integer or out of range
        HRANDFIELD h 1 x => -ERR syntax error
        HRANDFIELD h -9223372036854775808 => -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
        SET s v => OK
        HRANDFIELD s => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "HSCAN",
        r#"
        HSET h a 1 bb 2 => 2
        HSCAN h 0 => ["0", ["a", "1", "bb", "2"]]
        HSCAN h 0 MATCH b* COUNT 100 => ["0", ["bb", "2"]]
        HSCAN h 0 NOVALUES => ["0", ["a", "bb"]]
        HSCAN none 0 => ["0", []]
        HSCAN h x => -ERR invalid cursor
        HSCAN h 0 COUNT 0 => -ERR syntax error
        HSCAN h 0 COUNT x => -ERR value is not an integer or out of range
        HSCAN h 0 MATCH => -ERR syntax error
        SET s v => OK
        HSCAN s 0 => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "HSET",
        r#"
        HSET h a 1 b 2 => 2
        HSET h a 3 c 4 => 1
        HGET h a => "3"
        HSET h a => -ERR wrong number of arguments for 'hset' command
        HSET h a 1 b => -ERR wrong number of arguments for 'hset' command
        SET s v => OK
        HSET s a 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "HSETNX",
        r#"
        HSETNX h f a => 1
        HSETNX h f b => 0
        HGET h f => "a"
        SET s v => OK
        HSETNX s f a => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "HSTRLEN",
        r#"
        HSET h f hello n 123 => 2
        HSTRLEN h f => 5
        HSTRLEN h n => 3
        HSTRLEN h none => 0
        HSTRLEN none f => 0
        SET s v => OK
        HSTRLEN s f => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
    Case(
        "HVALS",
        r#"
        HSET h a 1 b 2 => 2
        HVALS h => ["1", "2"]
        HVALS none => []
        SET s v => OK
        HVALS s => -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    ),
];
