//! What only the PostgreSQL store has: merged commits, lost connections, servers that stop, and
//! what is checked at start. The guarantees that all stores share are in `tests/store/`.

#[path = "postgres/chains.rs"]
mod chains;
#[path = "support/postgres.rs"]
mod cluster;
#[path = "postgres/cuts.rs"]
mod cuts;
#[path = "postgres/faults.rs"]
mod faults;
#[path = "postgres/merged.rs"]
mod merged;
#[path = "postgres/model.rs"]
mod model;
#[path = "postgres/plan.rs"]
mod plan;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "postgres/rate.rs"]
mod rate;
#[path = "postgres/start.rs"]
mod start;
#[path = "postgres/views.rs"]
mod views;
#[path = "support/chains.rs"]
mod walks;
