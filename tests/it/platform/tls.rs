//! TLS to PostgreSQL: with a CA file there is no connection without it.

use std::time::Duration;

use super::abandoned::World;
use crate::support::mosquitto::make_certificates;
use crate::support::process::{Folder, Server};
use crate::support::{PATIENCE, aside, eventually, postgres::Postgres};

/// Lets the server itself write the file into its data folder, readable by nobody else.
const CONFIG: &str = "domains = ['fleet-customers']\n[http]\ndrain_ms = 0\n";

fn copy(folder: &Folder, name: &str) -> String {
    let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
    format!(
        "COPY (SELECT unnest(string_to_array('{}', E'\\n'))) TO PROGRAM 'umask 077; cat > {name}';",
        text.trim_end()
    )
}

async fn postgres_with_tls(folder: &Folder) -> Postgres {
    let postgres = Postgres::start().await;
    let (url, files) = (postgres.url(), [copy(folder, "server.key"), copy(folder, "server.pem")]);
    aside(async move {
        let (client, connection) =
            tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(&files.concat()).await.unwrap();
        for setting in ["ssl_key_file = 'server.key'", "ssl_cert_file = 'server.pem'", "ssl = on"] {
            client.batch_execute(&format!("ALTER SYSTEM SET {setting}")).await.unwrap();
        }
        client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    });
    postgres
}

#[actix_web::test]
async fn with_a_ca_file_the_database_is_reached_over_tls_only() {
    let folder = Folder::make();
    make_certificates(&folder);
    let postgres = postgres_with_tls(&folder).await;
    let ca = folder.path().join("ca.pem").display().to_string();
    let env = [("FLEET__DATABASE__URL", postgres.url()), ("FLEET__DATABASE__TLS_CA_FILE", ca)];
    let env: Vec<(&str, &str)> = env.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let server = Server::start(CONFIG, &env).await;
    let url = postgres.url();
    let plain = aside(async move {
        let (client, connection) =
            tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let count = "SELECT count(*) FILTER (WHERE NOT ssl), count(*) FROM pg_stat_ssl \
             JOIN pg_stat_activity USING (pid) WHERE application_name LIKE 'fleet%'";
        let row = client.query_one(count, &[]).await.unwrap();
        (row.get::<_, i64>(0), row.get::<_, i64>(1))
    });
    assert_eq!(plain.0, 0, "no connection without TLS");
    assert!(plain.1 > 0, "and some with it");
    drop(server);

    // A CA that did not sign the server's certificate is as good as none.
    make_certificates(&folder);
    let mut server = Server::spawn(CONFIG, &env);
    server.wait_for("readyz", 503).await;
    let ready = server.anonymous().get("readyz").await.expect(503);
    assert_ne!(ready["domains"][0]["status"], "ok", "{ready}");
}

#[actix_web::test]
async fn over_tls_an_abandoned_statement_is_cancelled_as_well() {
    let folder = Folder::make();
    make_certificates(&folder);
    let postgres = postgres_with_tls(&folder).await;
    let ca = format!("tls_ca_file = '{}'\n", folder.path().join("ca.pem").display());
    let world = World::on(&postgres.url(), 1, &ca);
    // A connection is at hand.
    world.run(PATIENCE, "SELECT 1").await.unwrap();
    let error = world.run(Duration::from_secs(3), "SELECT pg_sleep(60)").await;
    assert_eq!(error.expect_err("too late").code(), "deadline_exceeded");
    eventually("it is cancelled", async || world.asked() == 1).await;
}
