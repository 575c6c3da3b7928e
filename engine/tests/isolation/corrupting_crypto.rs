//! A crypto provider that corrupts plaintext before it encrypts it. The engine authenticates and decrypts these packets, but
//! their contents are invalid.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
};
use str0m::crypto::{
    AeadAes256GcmCipher, CryptoError, CryptoProvider, SrtpProvider, SupportedAeadAes128Gcm, SupportedAeadAes256Gcm,
    SupportedAes128CmSha1_80,
};

/// Number of corrupted packets.
pub static MEDIA_PACKETS: AtomicUsize = AtomicUsize::new(0);
pub static DATA_PACKETS: AtomicUsize = AtomicUsize::new(0);

/// The random generator and `one_in`; `None` corrupts no packets.
static CORRUPTION: Mutex<Option<(StdRng, u32)>> = Mutex::new(None);

/// Corrupts one in `one_in` packets from now on; 0 corrupts none.
pub fn start(seed: u64, one_in: u32) {
    *CORRUPTION.lock().unwrap() = (one_in > 0).then(|| (StdRng::seed_from_u64(seed), one_in));
}

/// Corrupts up to four bytes at or after `from`, in one of `one_in` packets. Returns whether it did.
fn corrupt(bytes: &mut [u8], from: usize, count: &AtomicUsize) -> bool {
    let mut corruption = CORRUPTION.lock().unwrap();
    let Some((random, one_in)) = corruption.as_mut().filter(|_| bytes.len() > from) else { return false };
    if !random.random_ratio(1, *one_in) {
        return false;
    }
    for _ in 0..random.random_range(1..5) {
        let at = random.random_range(from..bytes.len());
        bytes[at] = match random.random_range(0..4) {
            0 => 0,
            1 => 0xff,
            2 => random.random(),
            _ => bytes[at] ^ (1 << random.random_range(0..8)),
        };
    }
    count.fetch_add(1, Ordering::Relaxed);
    true
}

pub fn provider() -> CryptoProvider {
    CryptoProvider {
        srtp_provider: &CorruptingProvider,
        dtls_provider: &CorruptingProvider,
        ..str0m::crypto::from_feature_flags()
    }
}

#[derive(Debug)]
struct CorruptingProvider;

impl SrtpProvider for CorruptingProvider {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        inner().aes_128_cm_sha1_80()
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        inner().aead_aes_128_gcm()
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        &CorruptingProvider
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        inner().srtp_aes_128_ecb_round(key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        inner().srtp_aes_256_ecb_round(key, input, output);
    }
}

fn inner() -> &'static dyn SrtpProvider {
    str0m::crypto::from_feature_flags().srtp_provider
}

impl SupportedAeadAes256Gcm for CorruptingProvider {
    fn create_cipher(&self, key: [u8; 32], encrypt: bool) -> Box<dyn AeadAes256GcmCipher> {
        Box::new(CorruptingCipher(inner().aead_aes_256_gcm().create_cipher(key, encrypt)))
    }
}

/// Corrupts and encrypts the payloads of RTP and RTCP packets.
#[derive(Debug)]
struct CorruptingCipher(Box<dyn AeadAes256GcmCipher>);

impl AeadAes256GcmCipher for CorruptingCipher {
    fn encrypt(&mut self, iv: &[u8; 12], aad: &[u8], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        let mut input = input.to_vec();
        corrupt(&mut input, 0, &MEDIA_PACKETS);
        self.0.encrypt(iv, aad, &input, output)
    }

    fn decrypt(
        &mut self,
        iv: &[u8; 12],
        aads: &[&[u8]],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, CryptoError> {
        self.0.decrypt(iv, aads, input, output)
    }
}

impl DtlsProvider for CorruptingProvider {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        str0m::crypto::from_feature_flags().dtls_provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let dtls = str0m::crypto::from_feature_flags().dtls_provider.new_dtls(cert, now, version, mtu)?;
        Ok(Box::new(CorruptingDtls(dtls)))
    }
}

/// Corrupts SCTP packets after their common header and recomputes the checksum.
#[derive(Debug)]
struct CorruptingDtls(Box<dyn DtlsInstance>);

impl DtlsInstance for CorruptingDtls {
    fn set_active(&mut self, active: bool) {
        self.0.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.0.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        self.0.poll_output(buf)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.0.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        let mut packet = data.to_vec();
        // The common header is 12 bytes: the ports, the verification tag, and the checksum.
        if corrupt(&mut packet, 12, &DATA_PACKETS) {
            packet[8..12].fill(0);
            let sum = crc32c(&packet);
            packet[8..12].copy_from_slice(&sum.to_le_bytes());
        }
        self.0.send_application_data(&packet)
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

/// The checksum of SCTP (RFC 9260, appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    let shift = |sum: u32, _| if sum & 1 == 1 { (sum >> 1) ^ 0x82f6_3b78 } else { sum >> 1 };
    !bytes.iter().fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), shift))
}

#[test]
fn crc32c_matches_the_standard_check_value() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}
