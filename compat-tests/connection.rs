//! The connection and its client.

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[
    Case(
        "AUTH",
        r#"
        AUTH secret => -ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?
        b> PING => +PONG
        CONFIG SET requirepass secret => OK
        b> AUTH wrong => -WRONGPASS invalid username-password pair or user is disabled.
        b> AUTH secret => OK
        b> AUTH default secret => OK
        b> AUTH nobody secret => -WRONGPASS invalid username-password pair or user is disabled.
        b> AUTH a b c => -ERR syntax error
        CONFIG SET requirepass "" => OK
        "#,
    ),
    Case(
        "CLIENT|GETNAME",
        r#"
        CLIENT GETNAME => nil
        CLIENT SETNAME me => OK
        CLIENT GETNAME => "me"
        "#,
    ),
    Case(
        "CLIENT|GETREDIR",
        r#"
        CLIENT GETREDIR => -1
        CLIENT GETREDIR x => -ERR wrong number of arguments for 'client|getredir' command
        "#,
    ),
    Case(
        "CLIENT|HELP",
        "CLIENT HELP => ?array\nCLIENT HELP x => -ERR wrong number of arguments for 'client|help' command",
    ),
    Case(
        "CLIENT|ID",
        r#"
        CLIENT ID => 1..9999999
        CLIENT ID x => -ERR wrong number of arguments for 'client|id' command
        "#,
    ),
    Case(
        "CLIENT|INFO",
        r#"
        CLIENT SETNAME myself => OK
        SELECT 7 => OK
        CLIENT INFO => like "id=* name=myself *db=7 *cmd=client|info *"
        "#,
    ),
    Case(
        "CLIENT|KILL",
        r#"
        CLIENT KILL 127.0.0.1:1 => -ERR No such client
        CLIENT KILL ID 99999999 => 0
        CLIENT KILL ID x => ?error
        CLIENT KILL TYPE nosuch => -ERR Unknown client type 'nosuch'
        CLIENT KILL FOO bar => -ERR syntax error
        CLIENT KILL USER nobody => -ERR No such user 'nobody'
        b> CLIENT SETNAME victim => OK
        CLIENT KILL TYPE normal SKIPME yes => 1..9
        "#,
    ),
    Case(
        "CLIENT|LIST",
        r#"
        CLIENT SETNAME lister => OK
        CLIENT LIST => like "*name=lister *"
        CLIENT LIST TYPE pubsub => ""
        CLIENT LIST ID 99999999 => ""
        CLIENT LIST FOO => -ERR syntax error
        CLIENT LIST TYPE foo => -ERR Unknown client type 'foo'
        "#,
    ),
    Case(
        "CLIENT|NO-EVICT",
        r#"
        CLIENT NO-EVICT on => OK
        CLIENT INFO => like "*flags=e *"
        CLIENT NO-EVICT off => OK
        CLIENT NO-EVICT x => -ERR syntax error
        "#,
    ),
    Case(
        "CLIENT|NO-TOUCH",
        r#"
        CLIENT NO-TOUCH on => OK
        CLIENT INFO => like "*flags=T *"
        CLIENT NO-TOUCH off => OK
        CLIENT NO-TOUCH x => -ERR syntax error
        "#,
    ),
    Case(
        "CLIENT|REPLY",
        r#"
        CLIENT REPLY on => OK
        CLIENT REPLY x => -ERR syntax error
        "#,
    ),
    Case(
        "CLIENT|SETINFO",
        r#"
        CLIENT SETINFO lib-name tester => OK
        CLIENT SETINFO lib-ver 1.2 => OK
        CLIENT INFO => like "*lib-name=tester lib-ver=1.2*"
        CLIENT SETINFO foo x => -ERR Unrecognized option 'foo'
        CLIENT SETINFO lib-name "a b" => -ERR lib-name cannot contain spaces, newlines or special characters.
        "#,
    ),
    Case(
        "CLIENT|SETNAME",
        r#"
        CLIENT SETNAME me => OK
        CLIENT GETNAME => "me"
        CLIENT SETNAME "a b" => -ERR Client names cannot contain spaces, newlines or special characters.
        CLIENT SETNAME "" => OK
        CLIENT GETNAME => nil
        "#,
    ),
    Case(
        "CLIENT|TRACKINGINFO",
        r#"
        CLIENT TRACKINGINFO => ["flags", ["off"], "redirect", -1, "prefixes", []]
        3> CLIENT TRACKINGINFO => %["flags", ~["off"], "redirect", -1, "prefixes", []]
        CLIENT TRACKINGINFO x => -ERR wrong number of arguments for 'client|trackinginfo' command
        "#,
    ),
    Case(
        "CLIENT|UNBLOCK",
        r#"
        CLIENT UNBLOCK 99999999 => 0
        CLIENT UNBLOCK x => -ERR value is not an integer or out of range
        CLIENT UNBLOCK 1 FOO => -ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR
        CLIENT UNBLOCK 99999999 TIMEOUT x => 0
        "#,
    ),
    Case(
        "ECHO",
        r#"
        ECHO "a\x00\r\n" => "a\x00\r\n"
        ECHO => -ERR wrong number of arguments for 'echo' command
        "#,
    ),
    Case(
        "HELLO",
        r#"
        HELLO => ["server", ?, "version", ?, "proto", 2, "id", ?, "mode", "standalone", "role", "master", "modules", []]
        HELLO 3 SETNAME greeter => %["server", ?, "version", ?, "proto", 3, "id", ?, "mode", "standalone", "role", "master", "modules", []]
        CLIENT GETNAME => "greeter"
        HELLO 2 => ?
        HELLO 4 => -NOPROTO unsupported protocol version
        HELLO x => -ERR Protocol version is not an integer or out of range
        HELLO 3 AUTH => -ERR Syntax error in HELLO option 'AUTH'
        HELLO 3 FOO => -ERR Syntax error in HELLO option 'FOO'
        HELLO 3 SETNAME "a b" => -ERR Client names cannot contain spaces, newlines or special characters.
        "#,
    ),
    Case(
        "PING",
        r#"
        PING => +PONG
        PING hello => "hello"
        PING a b => -ERR wrong number of arguments for 'ping' command
        "#,
    ),
    Case("QUIT", "QUIT => OK\nPING => closed"),
    Case(
        "RESET",
        r#"
        SELECT 5 => OK
        CLIENT SETNAME me => OK
        MULTI => OK
        RESET => +RESET
        EXEC => -ERR EXEC without MULTI
        CLIENT GETNAME => nil
        CLIENT INFO => like "* db=0 *"
        "#,
    ),
    Case(
        "SELECT",
        r#"
        SET k zero => OK
        SELECT 1 => OK
        EXISTS k => 0
        SELECT 0 => OK
        GET k => "zero"
        SELECT 99 => -ERR DB index is out of range
        SELECT -1 => -ERR DB index is out of range
        SELECT x => -ERR value is not an integer or out of range
        "#,
    ),
];
