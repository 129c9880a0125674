use std::collections::BTreeMap;
use std::sync::Mutex;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::ServiceExt;

use super::*;
use crate::metrics::info::testing::eventful;

/// A node that keeps strings in a map and notes every command.
#[derive(Default)]
struct Node {
    strings: Mutex<BTreeMap<Bytes, Bytes>>,
    commands: Mutex<Vec<Vec<Bytes>>>,
    /// If there is one, the answer to everything.
    answer: Mutex<Option<&'static str>>,
    status: Mutex<NodeStatus>,
}

impl Node {
    fn run(&self, words: &[Bytes]) -> Bytes {
        self.commands.lock().unwrap().push(words.to_vec());
        if let Some(answer) = *self.answer.lock().unwrap() {
            return Bytes::from_static(answer.as_bytes());
        }
        let mut strings = self.strings.lock().unwrap();
        match words[0].as_ref() {
            b"SET" => {
                strings.insert(words[1].clone(), words[2].clone());
                Bytes::from_static(b"+OK\r\n")
            }
            b"GET" => match strings.get(&words[1]) {
                Some(value) => [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat().into(),
                None => Bytes::from_static(b"$-1\r\n"),
            },
            b"DEL" => format!(":{}\r\n", u8::from(strings.remove(&words[1]).is_some())).into(),
            other => panic!("{other:?} is not a command of the API"),
        }
    }

    fn last_command(&self) -> Vec<String> {
        let commands = self.commands.lock().unwrap();
        let words = commands.last().unwrap().iter();
        words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    }
}

struct Server {
    node: Arc<Node>,
    api: Arc<Api>,
    router: Router,
}

fn server(flags: &[(&str, &str)]) -> Server {
    let node = Arc::new(Node { status: Mutex::new(eventful()), ..Node::default() });
    node.status.lock().unwrap().process.loading = false;
    node.status.lock().unwrap().process.stopping = false;
    let config = Arc::new(Config::from_flags(flags).unwrap());
    let stats = Arc::new(Stats::new(vec!["get".to_string()]));
    let (called, probed, told) = (Arc::clone(&node), Arc::clone(&node), Arc::clone(&node));
    let call: Call = Box::new(move |words| {
        let reply = called.run(&words);
        Box::pin(async move { LocalReply::Reply(reply) })
    });
    let probe: Probe = Box::new(move || {
        let fit = probed.answer.lock().unwrap().is_none();
        Box::pin(async move { fit })
    });
    let api = Arc::new(Api::new(config, stats, call, probe, move || told.status.lock().unwrap().clone()));
    Server { node, router: router(Arc::clone(&api)), api }
}

impl Server {
    async fn send(&self, request: Request<Body>) -> (u16, HeaderMap, Bytes) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status.as_u16(), parts.headers, body.collect().await.unwrap().to_bytes())
    }

    /// Sends a request without a body and returns status and body.
    async fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let (status, _, body) = self.send(request).await;
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    async fn ask_with(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (status, headers, _) = self.send(request.body(Body::empty()).unwrap()).await;
        (status, headers)
    }

    async fn put(&self, path: &str, body: impl Into<Body>) -> (u16, String) {
        let (status, _, body) = self.send(Request::put(path).body(body.into()).unwrap()).await;
        (status, String::from_utf8_lossy(&body).into_owned())
    }
}

fn answer(status: u16, text: &str) -> (u16, String) {
    (status, text.to_string())
}

#[tokio::test]
async fn what_is_put_is_got_until_it_is_deleted() {
    let server = server(&[]);
    assert_eq!(server.ask("GET", "/get?key=a").await, answer(404, "Key not found"));
    assert_eq!(server.ask("GET", "/put?key=a&val=b+c%26d").await, answer(200, "Success"));
    assert_eq!(server.ask("GET", "/get?key=a").await, answer(200, "b c&d"));
    assert_eq!(server.ask("GET", "/kv/a").await, answer(200, "b c&d"));
    assert_eq!(server.ask("POST", "/delete?key=a").await, answer(200, "Success"));
    assert_eq!(server.ask("GET", "/delete?key=a").await, answer(404, "Key not found"));
    assert_eq!(server.ask("GET", "/put?key=a&val=&ttl=60").await, answer(200, "Success"));
    assert_eq!(server.node.last_command(), ["SET", "a", "", "EX", "60"]);
    assert_eq!(server.ask("GET", "/get?key=a").await, answer(200, ""));
}

#[tokio::test]
async fn keys_and_values_are_bytes() {
    let server = server(&[]);
    let value = [0_u8, 255, b'\r', b'\n', b'%'];
    assert_eq!(server.put("/kv/a%2Fb%00%ff/c+d?ttl=5", value.to_vec()).await, answer(200, "Success"));
    let key = Bytes::from_static(b"a/b\0\xff/c+d");
    assert_eq!(server.node.strings.lock().unwrap().get(&key).unwrap().as_ref(), value);
    assert_eq!(server.node.last_command()[3..], ["EX", "5"]);
    let (status, headers, body) =
        server.send(Request::get("/kv/a%2fb%00%FF%2fc%2Bd").body(Body::empty()).unwrap()).await;
    assert_eq!((status, body.as_ref()), (200, value.as_slice()));
    assert_eq!(headers["content-type"], "application/octet-stream");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(server.ask("DELETE", "/kv/a%2fb%00%FF%2fc%2Bd").await, answer(200, "Success"));
    assert_eq!(server.put("/kv/", "of the empty key").await, answer(200, "Success"));
    assert_eq!(server.ask("GET", "/get?key=").await, answer(200, "of the empty key"));
    assert_eq!(server.ask("HEAD", "/kv/").await, answer(200, ""));
}

#[tokio::test]
async fn what_cannot_be_understood_is_not_done() {
    let server = server(&[]);
    for (method, path, expected) in [
        ("GET", "/put?key=a", 400),
        ("GET", "/put?val=a", 400),
        ("GET", "/get", 400),
        ("GET", "/delete?k=a", 400),
        ("GET", "/put?key=a&val=b&ttl=0", 400),
        ("GET", "/put?key=a&val=b&ttl=-1", 400),
        ("GET", "/put?key=a&val=b&ttl=soon", 400),
        ("PUT", "/kv/a?ttl=1.5", 400),
        ("GET", "/put?key=%zz&val=b", 400),
        ("GET", "/put?key=a&val=%4", 400),
        ("PATCH", "/kv/a", 405),
        ("DELETE", "/get?key=a", 405),
        ("GET", "/kv", 404),
        ("GET", "/nothing", 404),
    ] {
        assert_eq!(server.ask(method, path).await.0, expected, "{method} {path}");
    }
    assert!(server.node.commands.lock().unwrap().is_empty());
}

#[tokio::test]
async fn bodies_and_values_have_a_limit() {
    let server = server(&[("proto-max-bulk-len", "1mb")]);
    assert_eq!(server.put("/kv/a", vec![b'x'; 1 << 20]).await.0, 200);
    assert_eq!(server.put("/kv/a", vec![b'x'; (1 << 20) + 1]).await.0, 413);
    // Without a declared length it is found out on the way.
    assert_eq!(server.put("/kv/a", Body::new(Pieces(1024))).await.0, 200);
    assert_eq!(server.put("/kv/a", Body::new(Pieces(1025))).await.0, 413);
    let declared = Request::put("/kv/a").header("content-length", "99999999999").body(Body::empty()).unwrap();
    assert_eq!(server.send(declared).await.0, 413);
    assert_eq!(server.node.commands.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_reply_tells_whether_it_was_done() {
    let server = server(&[]);
    for (reply, status) in [
        ("-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", 409),
        ("-LOADING Redis is loading the dataset in memory\r\n", 503),
        ("-OOM command not allowed\r\n", 503),
        ("-TIMEOUT it is not known whether this was done\r\n", 504),
        ("", 504),
    ] {
        *server.node.answer.lock().unwrap() = Some(reply);
        let (method, path) = ("GET", "/put?key=a&val=b");
        let (told, headers) = server.ask_with(method, path, &[]).await;
        assert_eq!(told, status, "{reply}");
        assert_eq!(headers.contains_key("retry-after"), status == 503, "{reply}");
        assert_eq!(server.ask("GET", "/kv/a").await.0, status, "{reply}");
        assert_eq!(server.ask("DELETE", "/kv/a").await.0, status, "{reply}");
    }
}

#[tokio::test]
async fn the_password_is_asked_for_where_data_are() {
    let server = server(&[("requirepass", "secret")]);
    // "default:secret", ":secret", "other:secret", "default:wrong" in base 64.
    for (authorization, expected) in [
        ("Basic ZGVmYXVsdDpzZWNyZXQ=", 404),
        ("basic OnNlY3JldA==", 404),
        ("Bearer secret", 404),
        ("bearer  secret", 404),
        ("Basic b3RoZXI6c2VjcmV0", 401),
        ("Basic ZGVmYXVsdDp3cm9uZw==", 401),
        ("Basic !!!", 401),
        ("Basic c2VjcmV0", 401),
        ("Bearer wrong", 401),
        ("Bearer", 401),
        ("Digest secret", 401),
    ] {
        let headers = [("authorization", authorization)];
        assert_eq!(server.ask_with("GET", "/kv/a", &headers).await.0, expected, "{authorization}");
    }
    for path in ["/put?key=a&val=b", "/get?key=a", "/delete?key=a", "/kv/a", "/status"] {
        let (status, headers) = server.ask_with("GET", path, &[]).await;
        assert_eq!(status, 401, "{path}");
        assert!(headers["www-authenticate"].to_str().unwrap().starts_with("Basic realm="));
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(server.ask("GET", path).await.0, 200, "{path}");
    }
    assert!(server.api.stats.totals().get(crate::metrics::Counter::AuthFailures) >= 12);
    server.api.config.set(&[("requirepass", "")]).unwrap();
    assert_eq!(server.ask("GET", "/kv/a").await.0, 404);
}

#[tokio::test]
async fn pages_of_other_sites_may_not_use_the_data() {
    let server = server(&[]);
    let path = "/put?key=a&val=b";
    for (headers, expected) in [
        (&[("sec-fetch-site", "cross-site")][..], 403),
        (&[("sec-fetch-site", "same-site")], 403),
        (&[("sec-fetch-site", "same-origin")], 200),
        (&[("sec-fetch-site", "none")], 200),
        (&[("origin", "http://evil.example"), ("host", "127.0.0.1:8001")], 403),
        (&[("origin", "null"), ("host", "127.0.0.1:8001")], 403),
        (&[("origin", "http://127.0.0.1:8001"), ("host", "127.0.0.1:8001")], 200),
        (&[("host", "127.0.0.1:8001")], 200),
    ] {
        assert_eq!(server.ask_with("GET", path, headers).await.0, expected, "{headers:?}");
    }
}

#[tokio::test]
async fn without_a_password_only_names_that_no_stranger_can_own_are_answered() {
    let hosts = [
        ("evil.example:8001", 403),
        ("evil.example", 403),
        ("EVIL.example.:8001", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("evil.example@", 403),
        ("", 403),
        ("127.0.0.1:8001", 200),
        ("10.1.2.3", 200),
        ("[::1]:8001", 200),
        ("LocalHost:8001", 200),
        ("kv-public:8001", 200),
        ("node.localhost", 200),
        ("kv-public.default.svc.cluster.local:8001", 200),
        ("kv.internal.", 200),
    ];
    let open = server(&[]);
    for (host, expected) in hosts {
        // The page's name is the host's: for the browser this is no other site.
        let origin = format!("http://{host}");
        for headers in [&[("host", host)][..], &[("host", host), ("origin", &origin)]] {
            for path in ["/put?key=a&val=b", "/kv/a", "/status"] {
                assert_eq!(open.ask_with("GET", path, headers).await.0, expected, "{headers:?} {path}");
            }
            assert_eq!(open.ask_with("GET", "/livez", headers).await.0, 200, "{headers:?}");
        }
    }
    assert_eq!(open.ask("GET", "http://evil.example/kv/a").await.0, 403);
    let two = [("host", "127.0.0.1"), ("host", "evil.example")];
    assert_eq!(open.ask_with("GET", "/kv/a", &two).await.0, 403);

    let named = server(&[("cluster-announce-hostname", "kv.example"), ("cluster-announce-ip", "db.example")]);
    named.ask("GET", "/put?key=a&val=b").await;
    for (host, expected) in [("kv.example:8001", 200), ("DB.example", 200), ("evil.example", 403)] {
        assert_eq!(named.ask_with("GET", "/kv/a", &[("host", host)]).await.0, expected, "{host}");
    }
    let closed = server(&[("requirepass", "secret")]);
    let headers = [("host", "kv.example"), ("authorization", "Bearer secret")];
    assert_eq!(closed.ask_with("GET", "/put?key=a&val=b", &headers).await.0, 200);
}

#[tokio::test]
async fn health_tells_alive_from_ready() {
    let server = server(&[]);
    assert_eq!(server.ask("GET", "/livez").await, answer(200, "ok"));
    assert_eq!(server.ask("GET", "/readyz").await, answer(200, "ok"));
    let verbose = "[+] running\n[+] loaded\n[+] leader\n[+] vote\n[+] read\n";
    assert_eq!(server.ask("GET", "/readyz?verbose").await, answer(200, verbose));
    *server.node.answer.lock().unwrap() = Some("-LOADING Redis is loading\r\n");
    assert_eq!(server.ask("GET", "/readyz").await, answer(503, "not ready: a read was not answered in time"));
    server.node.status.lock().unwrap().raft.votes = false;
    assert_eq!(server.ask("GET", "/readyz").await, answer(503, "not ready: it does not vote"));
    server.node.status.lock().unwrap().raft.leader_id = None;
    assert_eq!(server.ask("GET", "/readyz").await, answer(503, "not ready: no leader is known"));
    server.node.status.lock().unwrap().process.stopping = true;
    assert_eq!(server.ask("GET", "/readyz").await, answer(503, "not ready: the node is stopping"));
    assert_eq!(server.ask("GET", "/livez").await, answer(200, "ok"));
}

#[tokio::test]
async fn status_and_metrics_describe_the_node() {
    let server = server(&[]);
    server.ask("GET", "/get?key=a").await;
    let (status, text) = server.ask("GET", "/status").await;
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status, 200);
    assert_eq!(document["raft"]["role"], "leader");
    assert_eq!(document["node"]["id"], "000000000000000b");
    assert_eq!(document["raft"]["leader_id"], document["node"]["id"]);
    assert_eq!(document["node"]["resp_addresses"][0], "127.0.0.1:6379");
    assert_eq!(document["databases"][0]["keys"], 10);
    assert_eq!(document["storage"]["levels"][1]["tables"], 3);
    let (status, text) = server.ask("GET", "/metrics").await;
    assert_eq!(status, 200);
    assert!(text.contains("raft_current_term{node_id=\"000000000000000b\"} 3\n"));
    assert!(text.contains("http_requests_total{method=\"GET\",endpoint=\"/get\",status=\"404\"} 1\n"));
    assert!(text.contains("http_requests_total{method=\"GET\",endpoint=\"/status\",status=\"200\"} 1\n"));
}

/// Starts the server on a free port and returns its address, the switch that stops it, and its task.
async fn listening(
    router: Router,
    connections_max: usize,
) -> (std::net::SocketAddr, watch::Sender<bool>, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    (address, stop, tokio::spawn(serve(Arc::new(listener), router, connections_max, stopped)))
}

async fn exchange(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test]
async fn a_connection_serves_many_requests_and_ends_with_the_server() {
    let server = server(&[]);
    let (address, stop, task) = listening(server.router.clone(), 10).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..3 {
        let answer = exchange(&mut stream, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok"), "{answer}");
    }
    let mut other = TcpStream::connect(address).await.unwrap();
    let answer = exchange(&mut other, "this is not HTTP\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    stop.send(true).unwrap();
    task.await.unwrap();
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0, "the idle connection is closed");
    assert!(TcpStream::connect(address).await.is_err(), "no one listens any more");
}

#[tokio::test]
async fn a_connection_beyond_the_limit_waits_for_its_turn() {
    let server = server(&[]);
    let (address, stop, task) = listening(server.router.clone(), 1).await;
    let request = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut first = TcpStream::connect(address).await.unwrap();
    assert!(exchange(&mut first, request).await.starts_with("HTTP/1.1 200"));
    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(request.as_bytes()).await.unwrap();
    // The first still has the only slot and is served; the second is served when it has gone.
    assert!(exchange(&mut first, request).await.starts_with("HTTP/1.1 200"));
    drop(first);
    let mut answer = [0; 15];
    second.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    stop.send(true).unwrap();
    task.await.unwrap();
}

/// A body that comes in pieces, so that its length is not known beforehand.
struct Pieces(usize);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        if self.0 == 0 {
            return Poll::Ready(None);
        }
        self.0 -= 1;
        Poll::Ready(Some(Ok(hyper::body::Frame::data(Bytes::from_static(&[b'x'; 1024])))))
    }
}
