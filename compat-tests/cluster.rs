//! The cluster, as a node that stands alone shows it.

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[
    Case("ASKING", "ASKING => OK\nASKING x => -ERR wrong number of arguments for 'asking' command"),
    Case(
        "CLUSTER|ADDSLOTS",
        "CLUSTER ADDSLOTS 1 => -ERR This cluster manages its slots and its nodes itself: see RAFT.MEMBER HELP",
    ),
    Case(
        "CLUSTER|ADDSLOTSRANGE",
        "CLUSTER ADDSLOTSRANGE 1 2 => -ERR This cluster manages its slots and its nodes itself: see RAFT.MEMBER HELP",
    ),
    Case(
        "CLUSTER|BUMPEPOCH",
        "CLUSTER BUMPEPOCH => -ERR This cluster manages its slots and its nodes itself: see RAFT.MEMBER HELP",
    ),
    Case("CLUSTER|COUNT-FAILURE-REPORTS", "CLUSTER COUNT-FAILURE-REPORTS nosuch => -ERR Unknown node nosuch"),
    Case(
        "CLUSTER|COUNTKEYSINSLOT",
        r#"
        CLUSTER COUNTKEYSINSLOT 15495 => 0
        MSET {a}b 1 a 2 b 3 => OK
        CLUSTER COUNTKEYSINSLOT 15495 => 2
        SELECT 1 => OK
        CLUSTER COUNTKEYSINSLOT 15495 => 0
        CLUSTER COUNTKEYSINSLOT 16384 => -ERR Invalid slot
        CLUSTER COUNTKEYSINSLOT -1 => -ERR Invalid slot
        CLUSTER COUNTKEYSINSLOT x => -ERR value is not an integer or out of range
        "#,
    ),
    Case(
        "CLUSTER|DELSLOTS",
        "CLUSTER DELSLOTS 1 => -ERR This cluster manages its slots and its nodes itself: see RAFT.MEMBER HELP",
    ),
    Case(
        "CLUSTER|DELSLOTSRANGE",
        "CLUSTER DELSLOTSRANGE 1 2 => -ERR This cluster manages its slots and its nodes itself: see RAFT.MEMBER HELP",
    ),
    Case(
        "CLUSTER|FAILOVER",
        r#"
        CLUSTER FAILOVER => -ERR You should send CLUSTER FAILOVER to a replica
        CLUSTER FAILOVER TAKEOVER => -ERR You should send CLUSTER FAILOVER to a replica
        CLUSTER FAILOVER FOO => -ERR syntax error
        "#,
    ),
    Case(
        "CLUSTER|FLUSHSLOTS",
        "CLUSTER FLUSHSLOTS => -ERR This cluster manages its slots and its nodes itself: see RAFT.MEMBER HELP",
    ),
    Case(
        "CLUSTER|FORGET",
        "CLUSTER FORGET x => -ERR This cluster manages its slots and its nodes itself: see RAFT.MEMBER HELP",
    ),
    Case(
        "CLUSTER|GETKEYSINSLOT",
        r#"
        CLUSTER GETKEYSINSLOT 15495 10 => []
        MSET {a}b 1 a 2 b 3 => OK
        CLUSTER GETKEYSINSLOT 15495 10 => any ["a", "{a}b"]
        CLUSTER GETKEYSINSLOT 15495 1 => [like "*a*"]
        CLUSTER GETKEYSINSLOT 15495 0 => []
        CLUSTER GETKEYSINSLOT 15495 -1 => -ERR Invalid slot or number of keys
        CLUSTER GETKEYSINSLOT 16384 1 => -ERR Invalid slot or number of keys
        CLUSTER GETKEYSINSLOT 1 x => -ERR value is not an integer or out of range
        "#,
    ),
    Case(
        "CLUSTER|HELP",
        "CLUSTER HELP => ?array\nCLUSTER HELP x => -ERR wrong number of arguments for 'cluster|help' command",
    ),
    Case(
        "CLUSTER|INFO",
        r#"
        CLUSTER INFO => like "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\n*cluster_known_nodes:1\r\ncluster_size:1\r\n*"
        "#,
    ),
    Case(
        "CLUSTER|KEYSLOT",
        r#"
        CLUSTER KEYSLOT {a}b => 15495
        CLUSTER KEYSLOT a => 15495
        CLUSTER KEYSLOT {}a => 10875
        CLUSTER KEYSLOT => -ERR wrong number of arguments for 'cluster|keyslot' command
        "#,
    ),
    Case("CLUSTER|LINKS", "CLUSTER LINKS => []"),
    Case(
        "CLUSTER|MEET",
        "CLUSTER MEET 127.0.0.1 7000 => -ERR This cluster manages its slots and its nodes itself: see RAFT.MEMBER HELP",
    ),
    Case("CLUSTER|MYID", r#"CLUSTER MYID => like "*000000000000000000000000""#),
    Case("CLUSTER|MYSHARDID", r#"CLUSTER MYSHARDID => like "*00000000""#),
    Case(
        "CLUSTER|NODES",
        r#"
        CLUSTER NODES => like "*000000000000000000000000 127.0.0.1:*@0 myself,master - 0 0 * connected 0-16383\n"
        "#,
    ),
    Case("CLUSTER|REPLICAS", "CLUSTER REPLICAS nosuch => -ERR Unknown node nosuch"),
    Case(
        "CLUSTER|REPLICATE",
        "CLUSTER REPLICATE x => -ERR This cluster manages its slots and its nodes itself: see RAFT.MEMBER HELP",
    ),
    Case(
        "CLUSTER|RESET",
        "CLUSTER RESET HARD => -ERR This cluster manages its slots and its nodes itself: see RAFT.MEMBER HELP",
    ),
    Case(
        "CLUSTER|SAVECONFIG",
        "CLUSTER SAVECONFIG => -ERR This cluster manages its slots and its nodes itself: see RAFT.MEMBER HELP",
    ),
    Case(
        "CLUSTER|SET-CONFIG-EPOCH",
        "CLUSTER SET-CONFIG-EPOCH 1 => -ERR This cluster manages its slots and its nodes itself: see RAFT.MEMBER HELP",
    ),
    Case(
        "CLUSTER|SETSLOT",
        "CLUSTER SETSLOT 1 STABLE => -ERR This cluster manages its slots and its nodes itself: see RAFT.MEMBER HELP",
    ),
    Case(
        "CLUSTER|SHARDS",
        r#"
        CLUSTER SHARDS => [["slots", [0, 16383], "nodes", [["id", ?, "port", 1..65535, "ip", "127.0.0.1", "endpoint", "127.0.0.1", "role", "master", "replication-offset", 1..9999, "health", "online"]]]]
        3> CLUSTER SHARDS => [%["slots", [0, 16383], "nodes", [%["id", ?, "port", 1..65535, "ip", "127.0.0.1", "endpoint", "127.0.0.1", "role", "master", "replication-offset", 1..9999, "health", "online"]]]]
        "#,
    ),
    Case("CLUSTER|SLAVES", "CLUSTER SLAVES nosuch => -ERR Unknown node nosuch"),
    Case(
        "CLUSTER|SLOTS",
        r#"
        CLUSTER SLOTS => [[0, 16383, ["127.0.0.1", 1..65535, like "*000000000000000000000000", []]]]
        CONFIG SET cluster-preferred-endpoint-type hostname => OK
        CLUSTER SLOTS => [[0, 16383, ["?", 1..65535, ?, ["ip", "127.0.0.1"]]]]
        CONFIG SET cluster-preferred-endpoint-type unknown-endpoint => OK
        CLUSTER SLOTS => [[0, 16383, [nil, 1..65535, ?, ["ip", "127.0.0.1"]]]]
        CONFIG SET cluster-preferred-endpoint-type ip => OK
        "#,
    ),
    Case(
        "RAFT.MEMBER|ADD",
        r#"
        RAFT.MEMBER ADD 0 127.0.0.1:5001 => -ERR '0' is no node id
        RAFT.MEMBER ADD xyz 127.0.0.1:5001 => -ERR 'xyz' is no node id
        RAFT.MEMBER ADD 7 nowhere => -ERR 'nowhere' is not host:port, or the name is none
        RAFT.MEMBER ADD 7 127.0.0.1:5001 NAME => -ERR syntax error
        RAFT.MEMBER ADD 7 127.0.0.1:5001 => -ERR this node listens for no other nodes: start it with --peers that name it alone
        "#,
    ),
    Case("RAFT.MEMBER|DEMOTE", "RAFT.MEMBER DEMOTE nosuch => -ERR there is no member 'nosuch'"),
    Case(
        "RAFT.MEMBER|HELP",
        "RAFT.MEMBER HELP => ?array\nRAFT.MEMBER HELP x => -ERR wrong number of arguments for 'raft.member|help' command",
    ),
    Case(
        "RAFT.MEMBER|LIST",
        r#"
        RAFT.MEMBER LIST => [["id", ?, "name", "", "kind", "voter", "role", "leader", "peer", "", "address", like "127.0.0.1:*"]]
        3> RAFT.MEMBER LIST => [%["id", ?, "name", "", "kind", "voter", "role", "leader", "peer", "", "address", like "127.0.0.1:*"]]
        "#,
    ),
    Case("RAFT.MEMBER|PROMOTE", "RAFT.MEMBER PROMOTE nosuch => -ERR there is no member 'nosuch'"),
    Case(
        "RAFT.MEMBER|REMOVE",
        r#"
        RAFT.MEMBER REMOVE nosuch => -ERR there is no member 'nosuch'
        RAFT.MEMBER REMOVE nosuch FORCE => -ERR there is no member 'nosuch'
        "#,
    ),
    Case("RAFT.MEMBER|REPLACE", "RAFT.MEMBER REPLACE nosuch none => -ERR there is no member 'nosuch'"),
    Case(
        "RAFT.STATUS",
        r#"
        3> RAFT.STATUS => ?map
        RAFT.STATUS x => -ERR wrong number of arguments for 'raft.status' command
        "#,
    ),
    Case(
        "RAFT.TRANSFER",
        r#"
        RAFT.TRANSFER nosuch => -ERR there is no member 'nosuch'
        RAFT.TRANSFER a b => -ERR syntax error
        RAFT.TRANSFER => -ERR there is no other voter
        "#,
    ),
    Case(
        "READONLY",
        r#"
        READONLY => OK
        CLIENT INFO => like "*flags=r *"
        SET k v => OK
        GET k => "v"
        RESET => +RESET
        CLIENT INFO => like "*flags=N *"
        "#,
    ),
    Case(
        "READWRITE",
        r#"
        READONLY => OK
        READWRITE => OK
        CLIENT INFO => like "*flags=N *"
        "#,
    ),
];
