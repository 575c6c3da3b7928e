//! str0m's cryptography with one DTLS configuration for all connections.
//!
//! dimpl tests every algorithm when it builds a configuration, which takes 4 ms. str0m's own provider builds one per connection,
//! on the media thread.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use dimpl::{Config, Dtls};
use str0m::DATAGRAM_MTU_TARGET;
use str0m::config::{CryptoProvider, DtlsCert, DtlsVersion};
use str0m::crypto::dtls::{DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, ProtocolVersion};
use str0m::crypto::{CryptoError, from_feature_flags};

static CRYPTO: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(CryptoProvider { dtls_provider: &Shared, ..from_feature_flags() }));

/// Without DTLS cookies, because ICE has verified the client's address before.
static CONFIG: LazyLock<Result<Arc<Config>, String>> = LazyLock::new(|| {
    let config = Config::builder().use_server_cookie(false).mtu(DATAGRAM_MTU_TARGET).build();
    config.map(Arc::new).map_err(|error| error.to_string())
});

/// The provider for all connections.
pub(crate) fn crypto_provider() -> Arc<CryptoProvider> {
    Arc::clone(&CRYPTO)
}

#[derive(Debug)]
struct Shared;

impl DtlsProvider for Shared {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        from_feature_flags().dtls_provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        // The engine uses only DTLS 1.2 with this MTU; str0m's provider handles all else.
        if !matches!((version, mtu), (DtlsVersion::Dtls12, Some(DATAGRAM_MTU_TARGET))) {
            return from_feature_flags().dtls_provider.new_dtls(certificate, now, version, mtu);
        }
        let config = CONFIG.clone().map_err(CryptoError::Other)?;
        Ok(Box::new(Instance(Dtls::new_12(config, certificate.clone(), now))))
    }
}

struct Instance(Dtls);

impl std::fmt::Debug for Instance {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Instance")
    }
}

impl DtlsInstance for Instance {
    fn set_active(&mut self, active: bool) {
        self.0.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.0.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        self.0.poll_output(buffer)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.0.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.0.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.0.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.0.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.0.close()
    }
}
