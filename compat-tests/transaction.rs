//! Transactions.

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[
    Case(
        "DISCARD",
        r#"
        DISCARD => -ERR DISCARD without MULTI
        MULTI => OK
        SET k v => QUEUED
        DISCARD => OK
        EXISTS k => 0
        EXEC => -ERR EXEC without MULTI
        "#,
    ),
    Case(
        "EXEC",
        r#"
        EXEC => -ERR EXEC without MULTI
        MULTI => OK
        EXEC x => -EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command
        EXEC => -ERR EXEC without MULTI
        MULTI => OK
        EXEC => []
        MULTI => OK
        SET k v => QUEUED
        INCR k => QUEUED
        GET k => QUEUED
        PING => QUEUED
        HSET h a 1 => QUEUED
        HGETALL h => QUEUED
        EXEC => [+OK, -"ERR value is not an integer or out of range", "v", +PONG, 1, ["a", "1"]]
        MULTI => OK
        SET k => -ERR wrong number of arguments for 'set' command
        SET k other => QUEUED
        EXEC => -EXECABORT Transaction discarded because of previous errors.
        GET k => "v"
        MULTI => OK
        NOSUCH => -ERR unknown command 'NOSUCH', with args beginning with: 
        EXEC => -EXECABORT Transaction discarded because of previous errors.
        3> MULTI => OK
        3> HGETALL h => QUEUED
        3> GET none => QUEUED
        3> EXEC => [%["a", "1"], nil]
        MULTI => OK
        SELECT 3 => QUEUED
        SET only3 v => QUEUED
        SELECT 0 => QUEUED
        EXISTS only3 => QUEUED
        EXEC => [+OK, +OK, +OK, 0]
        b> MULTI => OK
        b> HELLO 3 => QUEUED
        b> HGETALL h => QUEUED
        b> EXEC => [?map, %["a", "1"]]
        b> HELLO 2 => ?
        b> MULTI => OK
        b> HELLO 3 AUTH default any => QUEUED
        b> HGETALL h => QUEUED
        b> HELLO 2 AUTH nobody any => QUEUED
        b> HGETALL h => QUEUED
        b> EXEC => [?map, %["a", "1"], -"WRONGPASS invalid username-password pair or user is disabled.", %["a", "1"]]
        "#,
    ),
    Case(
        "MULTI",
        r#"
        MULTI => OK
        MULTI => -ERR MULTI calls can not be nested
        INCR n => QUEUED
        b> INCR n => 1
        INCR n => QUEUED
        EXEC => [2, 3]
        MULTI x => -ERR wrong number of arguments for 'multi' command
        "#,
    ),
    Case(
        "UNWATCH",
        r#"
        SET k 1 => OK
        WATCH k => OK
        b> SET k 2 => OK
        UNWATCH => OK
        MULTI => OK
        GET k => QUEUED
        EXEC => ["2"]
        "#,
    ),
    Case(
        "WATCH",
        r#"
        SET k 1 => OK
        WATCH k none => OK
        b> SET k 2 => OK
        MULTI => OK
        SET k 3 => QUEUED
        EXEC => nil
        GET k => "2"
        MULTI => OK
        SET k 4 => QUEUED
        EXEC => [+OK]
        WATCH none => OK
        b> SET none x => OK
        MULTI => OK
        EXEC => nil
        WATCH k => OK
        SET k 5 => OK
        MULTI => OK
        EXEC => nil
        WATCH k => OK
        b> GET k => "5"
        b> SET other x => OK
        MULTI => OK
        WATCH x => -ERR WATCH inside MULTI is not allowed
        GET k => QUEUED
        EXEC => ["5"]
        WATCH k => OK
        b> FLUSHALL => OK
        3> SET unrelated 1 => OK
        MULTI => OK
        EXEC => nil
        WATCH absent => OK
        b> FLUSHALL => OK
        MULTI => OK
        EXEC => []
        WATCH absent => OK
        b> FLUSHALL => OK
        b> SET absent x => OK
        MULTI => OK
        EXEC => nil
        FLUSHALL => OK
        WATCH absent => OK
        b> SELECT 1 => OK
        b> SWAPDB 0 1 => OK
        b> SET absent x => OK
        MULTI => OK
        EXEC => []
        WATCH absent => OK
        b> SWAPDB 0 1 => OK
        MULTI => OK
        EXEC => nil
        FLUSHALL => OK
        b> SELECT 0 => OK
        WATCH k => OK
        b> SET k 1 => OK
        RESET => +RESET
        MULTI => OK
        EXEC => []
        WATCH k => OK
        MULTI => OK
        UNWATCH => QUEUED
        EXEC => [+OK]
        WATCH k => OK
        MULTI => OK
        DISCARD => OK
        b> SET k 9 => OK
        MULTI => OK
        EXEC => []
        "#,
    ),
];
