//! S8: what is read is byte for byte what was written.

use bytes::Bytes;
use tidelog::domain::{
    Command, Content, ContentHash, ContentType, Data, Event, EventType, Invalidate, Reason, Seq,
    Timestamp, TransactionNo,
};
use tidelog::store::{KeyRange, SurfaceScan, Wanted};

use crate::backends::Stand;
use crate::make::{content, json, key, name, one, write};
use crate::writer::{Writer, everything};

on_every_backend!(
    nasty_keys_come_back,
    nasty_topic_names_come_back,
    json_comes_back_with_its_white_space_and_escapes,
    binary_data_comes_back,
    hashes_types_and_metadata_come_back,
    reasons_come_back,
    times_come_back_to_the_microsecond,
    megabytes_come_back,
);

/// Keys that something on the way might take for something else.
fn nasty() -> Vec<String> {
    let mut keys: Vec<String> = [
        "/",
        "a/b//c/",
        "%",
        "%00",
        "%2F",
        "_",
        "a_b",
        "*",
        "?",
        "#",
        "'",
        "''",
        "\"",
        "`",
        "\\",
        "\\0",
        "\\x00",
        "--",
        ";",
        "'; DROP TABLE event; --",
        "$1",
        "{}",
        "NULL",
        "null",
        "0",
        "-1",
        "1e3",
        " ",
        "  ",
        " a",
        "a ",
        "\t",
        "\n",
        "\r\n",
        "\u{1}",
        "\u{7f}",
        "\u{80}",
        "\u{a0}",
        "\u{ad}",
        "\u{200b}",
        "\u{202e}",
        "\u{feff}",
        "\u{feff}a",
        "\u{fffd}",
        "\u{ffff}",
        "\u{d7ff}",
        "\u{e000}",
        "\u{10ffff}",
        "é",
        "e\u{301}",
        "ß",
        "ss",
        "SS",
        "İ",
        "i",
        "I",
        "ı",
        "\u{c5}",
        "\u{212b}",
        "A\u{30a}",
        "ﬀ",
        "日本語",
        "עברית",
        "🦀",
        "👩‍👩‍👧",
        "a",
        "A",
        "á",
        "z",
        "Z",
    ]
    .map(String::from)
    .to_vec();
    keys.push("k".repeat(1_024));
    keys.push(format!("{}é", "k".repeat(1_022)));
    keys.push("\u{10ffff}".repeat(256));
    keys.push("'".repeat(1_024));
    keys
}

/// Writes an event, and checks it wherever it can be read.
async fn check(writer: &mut Writer, content: Content) {
    let of = content.key.clone();
    let hash = content.hash.fingerprint();
    writer.write([write([content])]).await;
    let head = writer.head();
    let event: &Event = &writer.book.events[head.seq.0 as usize];
    let read = |events: Vec<tidelog::domain::ReadEvent>| {
        assert_eq!(events.last().map(|read| &read.event), Some(event));
    };
    let reader = &writer.store.reader;
    let scan = tidelog::store::Scan { from: head.seq, to: head.seq, ..everything() };
    read(reader.events(&writer.name, scan).await.expect("events"));
    read(reader.history(&writer.name, &of, everything()).await.expect("a history"));
    let scan =
        SurfaceScan { at: head, keys: KeyRange::Exactly(of.clone()), limit: 1, bytes: usize::MAX };
    read(reader.surface(&writer.name, &scan).await.expect("a surface"));
    writer.fold(head.seq).await;
    let state = writer.facts(Wanted { keys: vec![of], ..Wanted::default() }).await.keys[0];
    let standing = state.standing.expect("it stands");
    assert_eq!((standing.version, standing.hash, state.newest), (head, hash, Some(head.seq)));
}

async fn nasty_keys_come_back(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let keys = nasty();
    for (n, of) in keys.iter().enumerate() {
        check(&mut writer, content(of, &n.to_string())).await;
    }
    let surface = writer.surface(writer.head().seq).await;
    let mut sorted: Vec<(String, u64)> = keys.into_iter().zip(0..).collect();
    sorted.sort();
    assert_eq!(surface, sorted, "each is a key of its own, in byte order");
    writer.write(nasty().iter().map(|of| one(of, "\"again\""))).await;
    writer.check().await;
}

async fn nasty_topic_names_come_back(stand: Stand) {
    let longest = "~".repeat(200);
    let mut topics = vec!["-", "_", "~", ":", "a.b", "a_b", "axb", "A", "a", "--", "0", &longest];
    for (n, topic) in topics.iter().enumerate() {
        Writer::open(&stand.store, topic)
            .await
            .write((0..=n).map(|k| one(&k.to_string(), "1")))
            .await;
    }
    for (n, topic) in topics.iter().enumerate() {
        let head = stand.store.reader.head(&name(topic)).await.expect("a head");
        assert_eq!(head.map(|head| head.seq), Some(Seq(n as u64)), "{topic}");
    }
    topics.sort_unstable();
    let listed = stand.store.reader.topics("", None, 100).await.expect("topics");
    let listed: Vec<_> = listed.iter().map(|summary| summary.name.as_str()).collect();
    assert_eq!(listed, topics);
}

async fn json_comes_back_with_its_white_space_and_escapes(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let deepest = format!("{}{}", "[".repeat(128), "]".repeat(128));
    let objects = format!("{}1{}", "{\"a\":".repeat(128), "}".repeat(128));
    let texts = [
        "null",
        "true",
        "\"\"",
        "{}",
        "[]",
        "0",
        "-0",
        "-0.0",
        "1.0",
        "1.10",
        "1e400",
        "1E+2",
        "123456789012345678901234567890",
        "-9223372036854775809",
        "0.1000000000000000055511",
        "\"\\u0000\"",
        "{\"\\u0000\":\"\\u0000\"}",
        "\"\\ud800\"",
        "\"\\ud83e\\udd80\"",
        "\"\\/\"",
        "\"/\"",
        "\"\\u00e9\"",
        "\"é\"",
        "\"🦀\"",
        "\"\u{7f}\u{2028}\u{feff}\"",
        " { \"b\" : 1 ,\t\"a\":2, \"b\": 3 }\r\n",
        "[1 , 2]",
        "\n1\n",
        &deepest,
        &objects,
    ];
    for text in texts {
        check(&mut writer, content("k", text)).await;
        let metadata = Content::new(key("m"), None, None, Data::Json(json(text)), Some(json(text)));
        check(&mut writer, metadata).await;
    }
    writer.check().await;
}

async fn binary_data_comes_back(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let all: Vec<u8> = (0..=255).collect();
    let values: [&[u8]; 8] =
        [b"", b"\0", b"\0\0a\0", &all, b"\xff\xfe", b"\\x00", b"\xed\xa0\x80", b"null"];
    let types =
        ["application/octet-stream", "text/plain; charset=\"utf-8\"", "a/b", "x/'%_\\", "/"];
    for (n, value) in values.iter().enumerate() {
        let content_type = ContentType::parse(types[n % types.len()].into()).expect("a type");
        let data = Data::Binary(Bytes::copy_from_slice(value), content_type);
        check(&mut writer, Content::new(key("k"), None, None, data, None)).await;
    }
    check(&mut writer, content("k", "null")).await;
    writer.check().await;
}

async fn hashes_types_and_metadata_come_back(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let hex = hex::encode(content("k", "1").digest);
    let other = hex::encode(content("k", "2").digest);
    let long = "h".repeat(255);
    let texts = ["1", " ", "é", "'", "%", "\u{1}", "🦀", &hex.to_uppercase(), &other, &hex, &long];
    for text in texts {
        let hash = Some(ContentHash::parse(text.into()).expect("a hash"));
        let event_type = Some(EventType::parse(text.into()).expect("a type"));
        let (data, metadata) = (Data::Json(json("1")), Some(json("{ \"m\":\"\\u0000\" }")));
        check(&mut writer, Content::new(key("k"), hash, event_type, data, metadata)).await;
    }
    check(&mut writer, content("k", "2")).await;
    writer.check().await;
}

async fn reasons_come_back(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let long = "é".repeat(512);
    let reasons = [None, Some("'%_\\\"\n\u{1}🦀"), Some(" "), Some(long.as_str())];
    for reason in reasons {
        writer.write([one("k", "1")]).await;
        let reason = reason.map(|text| Reason::parse(text.into()).expect("a reason"));
        let transaction: TransactionNo = writer.head().transaction;
        writer
            .write([Command::Invalidate(Invalidate { transaction, reason, idempotency: None })])
            .await;
    }
    writer.check().await;
}

async fn times_come_back_to_the_microsecond(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    // 1970, around it, a jump back, and the last microsecond of the year 9999.
    for time in [0, 1, -1, 1_800_000_000_123_456, 1_799_999_999_999_999, 253_402_300_799_999_999] {
        let batch = writer.plan_at(Timestamp(time), [one("k", &time.to_string())]);
        writer.send(&batch).await.expect("written");
    }
    writer.check().await;
}

async fn megabytes_come_back(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let large = format!("\"{}\"", "é\\u0000 ".repeat((1 << 20) / 9));
    check(&mut writer, content("a", &large)).await;
    // Bytes that do not compress.
    let mut noise = 1_u64;
    let noise = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (noise >> 56) as u8
    });
    let noise: Vec<u8> = noise.take(1 << 20).collect();
    let content_type = ContentType::parse("application/octet-stream".into()).expect("a type");
    let data = Data::Binary(noise.into(), content_type);
    check(&mut writer, Content::new(key("b"), None, None, data, Some(json(&large)))).await;
    writer.check().await;
}
