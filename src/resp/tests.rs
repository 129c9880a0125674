//! Requests and replies as bytes.

use bytes::BytesMut;

use super::*;

fn decode_all(codec: &mut RequestCodec, input: &[u8]) -> (Vec<Args>, Option<ProtocolError>) {
    let mut buffer = BytesMut::from(input);
    let mut requests = Vec::new();
    loop {
        match codec.next_request(&mut buffer) {
            Ok(Some(args)) => requests.push(args),
            Ok(None) => return (requests, None),
            Err(error) => return (requests, Some(error)),
        }
    }
}

#[test]
fn a_pipeline_of_requests_is_decoded_in_order() {
    let (requests, error) = decode_all(
        &mut RequestCodec::default(),
        b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*0\r\n\r\nPING\r\n*1\r\n$4\r\nQUIT\r\n",
    );
    assert_eq!(error, None);
    let expected: [&[&[u8]]; 3] = [&[b"GET", b"k"], &[b"PING"], &[b"QUIT"]];
    assert_eq!(requests, expected.map(Args::from_slices));
}
