//! The way to the broker: TCP, or TLS over it.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::connection::Trouble;
use crate::platform::config::mqtt::MqttSettings;

/// What bytes are read from and written to.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(super) type Halves = (ReadHalf<Box<dyn Stream>>, WriteHalf<Box<dyn Stream>>);

/// How to reach the broker.
pub(super) struct Route {
    address: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// Why the settings lead nowhere.
#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    #[error("mqtt.url is not of the form mqtts://HOST:PORT")]
    Url,
    #[error("a file named under mqtt cannot be read: {0}")]
    File(#[from] rustls::pki_types::pem::Error),
    #[error("mqtt: {0}")]
    Tls(#[from] rustls::Error),
}

impl Route {
    /// Reads the files that TLS needs.
    pub fn new(settings: &MqttSettings) -> Result<Self, RouteError> {
        let address = settings.address().ok_or(RouteError::Url)?;
        if !settings.is_tls() {
            return Ok(Self { address, tls: None });
        }
        let host = address.rsplit_once(':').map_or("", |(host, _)| host);
        let host = host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(|_| RouteError::Url)?;
        let connector = TlsConnector::from(Arc::new(tls(settings)?));
        Ok(Self { address, tls: Some((connector, name)) })
    }

    /// Connects; whoever calls sets the time-out.
    pub async fn open(&self) -> Result<Halves, Trouble> {
        let tcp = TcpStream::connect(&self.address).await.map_err(|_| Trouble::UNREACHABLE)?;
        // A command is small and shall not wait for company.
        tcp.set_nodelay(true).map_err(|_| Trouble::UNREACHABLE)?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(tcp),
            Some((connector, name)) => {
                let shaken = connector.connect(name.clone(), tcp).await;
                Box::new(shaken.map_err(|error| {
                    tracing::debug!(%error, "the broker's TLS cannot be used");
                    Trouble::TLS
                })?)
            }
        };
        Ok(tokio::io::split(stream))
    }
}

/// Trusts the configured CA and nobody else; without one, those that browsers trust.
fn tls(settings: &MqttSettings) -> Result<ClientConfig, RouteError> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = &settings.ca_file {
        for certificate in CertificateDer::pem_file_iter(file)? {
            roots.add(certificate?)?;
        }
    } else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let (Some(certificate), Some(key)) =
        (&settings.client_certificate_file, &settings.client_key_file)
    else {
        return Ok(config.with_no_client_auth());
    };
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    Ok(config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key)?)?)
}
