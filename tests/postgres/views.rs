//! The documented views, for people who read the database with SQL.

use tidelog::domain::*;
use tidelog::store::EventSourceWriter;

use crate::cluster::Cluster;
use crate::plan::*;

#[tokio::test]
async fn the_views_show_what_the_contract_calls_topics_events_transactions_and_surface() {
    let cluster = Cluster::shared();
    let url = cluster.database();
    let store = connect(&url).await;
    Writer::open(&store, "empty").await;
    let mut writer = Writer::open(&store, "t").await;
    let first = write(vec![content("a", "{\"n\": 1}"), content("b", "\"\\u0000\"")]);
    let batch = writer.batch(&[first, one("a", "2"), one("c", "3"), write(vec![rich("d")])]);
    store.append(batch).await.expect("written");
    store.fold(writer.topic, Seq(2), None).await.expect("folds a part");
    writer.mind.targets.insert(TransactionNo(1), TargetState::Stands(Seq(2), Seq(2)));
    writer.mind.targets.insert(TransactionNo(2), TargetState::Stands(Seq(3), Seq(3)));
    let batch = writer.batch(&[invalidate(1), invalidate(2)]);
    store.append(batch).await.expect("written");
    let sql = |text: &str| cluster.sql(&url, text);

    assert_eq!(sql("SELECT * FROM tidelog.topics"), "t|7|6|5");
    let surface = "SELECT key, seq, data::text FROM tidelog.surface WHERE topic = 't' ORDER BY key";
    assert_eq!(sql(surface), "a|0|{\"n\": 1}\nb|1|\"\\ufffd\"\nd|4|");
    store.fold(writer.topic, Seq(6), None).await.expect("folds the rest");
    assert_eq!(sql(surface), "a|0|{\"n\": 1}\nb|1|\"\\ufffd\"\nd|4|", "whatever is folded");
    let latest = "SELECT key, newest, standing FROM tidelog.latest ORDER BY key";
    assert_eq!(sql(latest), "a|2|0\nb|1|1\nc|3|\nd|4|4");
    let transactions = "SELECT transaction, first_seq, last_seq, events, invalidates,
        invalidated_by FROM tidelog.transactions WHERE topic = 't' ORDER BY transaction";
    let expected = "0|0|1|2||\n1|2|2|1||4\n2|3|3|1||5\n3|4|4|1||\n4|5|5|1|1|\n5|6|6|1|2|";
    assert_eq!(sql(transactions), expected);
    let events = "SELECT seq, last, key, type, content_type, data_binary, metadata, reason,
        invalidated_by FROM tidelog.events WHERE topic = 't' AND seq IN (0, 4, 5) ORDER BY seq";
    let expected = "0|f|a||||||\n\
        4|t|d|thing.changed|application/octet-stream|\\x00ff0a00|\
        { \"a\" : \"\\ufffd\\ufffd\", \"a\":1e2 }||\n\
        5|t||||||wrong|";
    assert_eq!(sql(events), expected);
    let hash = sql("SELECT hash FROM tidelog.events WHERE topic = 't' AND seq = 2");
    assert_eq!(hash, "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35");
    let documented = "SELECT count(*) FROM pg_class WHERE relkind = 'v' AND
        relnamespace = 'tidelog'::regnamespace AND obj_description(oid) IS NULL";
    assert_eq!(sql(documented), "0");
}
