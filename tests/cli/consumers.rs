//! `tidelog consumers`.

use serde_json::json;

use crate::places::Place;

on_every_place!(consumers_are_made_shown_moved_and_forgotten);

fn consumers_are_made_shown_moved_and_forgotten(place: &Place) {
    let lines =
        "{\"key\":\"a\",\"data\":1}\n{\"key\":\"a\",\"data\":2}\n{\"key\":\"a\",\"data\":3}\n";
    place.feed(&["append", "t"], lines).ok();
    let consumers = |args: &[&str]| place.run(&[&["consumers"][..], args].concat());
    assert_eq!(consumers(&["list", "t"]).ok().out, "");
    consumers(&["list", "none"]).fails(1, "no topic");
    consumers(&["show", "t", "c"]).fails(1, "no consumer c");
    let made = consumers(&["set", "t", "c", "1", "--new"]).ok().json();
    assert_eq!((&made[0]["seq"], &made[0]["lag"]["events"]), (&json!(1), &json!(1)));
    consumers(&["set", "t", "c", "1", "--new"]).fails(1, "condition");
    let revision = made[0]["revision"].to_string();
    let moved = consumers(&["set", "t", "c", "head", "--if-revision", &revision]).ok().json();
    assert_eq!((&moved[0]["seq"], &moved[0]["lag"]["events"]), (&json!(2), &json!(0)));
    consumers(&["set", "t", "c", "0", "--if-revision", &revision]).fails(1, "condition");
    consumers(&["set", "t", "c", "3"]).fails(1, "beyond the head");
    consumers(&["set", "t", "d", "start"]).ok();
    let read = |name| place.run(&["read", "t", "--consumer", name]);
    let of = |name| read(name).ok().json().iter().map(|e| e["seq"].clone()).collect::<Vec<_>>();
    assert_eq!((of("c"), of("d")), (vec![], vec![json!(0), json!(1), json!(2)]));
    read("none").fails(1, "no consumer none");
    let table = consumers(&["list", "t", "-o", "table"]).ok().out;
    let column = |n: usize| -> Vec<&str> {
        table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(n)).collect()
    };
    assert_eq!((column(0), column(1), column(2)), (vec!["c", "d"], vec!["2", "-"], vec!["0", "3"]));
    assert_eq!(consumers(&["list", "t", "--prefix", "d"]).ok().json().len(), 1);
    consumers(&["delete", "t", "c", "--if-revision", &revision]).fails(1, "");
    consumers(&["delete", "t", "c"]).ok();
    consumers(&["delete", "t", "c"]).fails(1, "no consumer c");
}
