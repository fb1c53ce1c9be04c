//! Encryption of connections, with the feature `tls`.

use std::path::PathBuf;

/// The files of certificates and keys.
#[cfg_attr(not(feature = "tls"), allow(dead_code))] // Nothing is encrypted.
pub(crate) struct CertificateFiles {
    /// The certificates of the authorities that are trusted, instead of those of the system.
    pub(crate) roots: Option<PathBuf>,
    /// The certificate of this user, and its key.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
}

#[cfg(not(feature = "tls"))]
mod client {
    use tokio_postgres::NoTls;

    use super::CertificateFiles;

    pub(crate) type Tls = NoTls;

    /// Returns the connector, which cannot encrypt. A server that must be reached by an encrypted connection is refused
    /// when the connection is opened.
    #[allow(clippy::unnecessary_wraps)] // With the feature `tls`, files may be missing.
    pub(crate) fn connector(_verifies: bool, _files: &CertificateFiles) -> Result<Tls, String> {
        Ok(NoTls)
    }
}

#[cfg(feature = "tls")]
mod client {
    use std::sync::Arc;

    use rustls::{
        ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    };
    use tokio_postgres_rustls::MakeRustlsConnect;

    use super::CertificateFiles;

    pub(crate) type Tls = MakeRustlsConnect;

    /// Returns the connector. Unless it verifies certificates, it accepts those of any server, as `sslmode=require`
    /// means.
    ///
    /// # Errors
    /// Fails with the reason if a file cannot be read.
    pub(crate) fn connector(verifies: bool, files: &CertificateFiles) -> Result<Tls, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?;
        let builder = if verifies || files.roots.is_some() {
            builder.with_root_certificates(roots(files)?)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        };
        let config = match &files.client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
                let chain = chain.map_err(|_| "the file of `sslcert` has no certificate".to_owned())?;
                let key =
                    PrivateKeyDer::from_pem_file(key).map_err(|_| "the file of `sslkey` has no key".to_owned())?;
                builder.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?
            }
        };
        Ok(MakeRustlsConnect::new(config))
    }

    fn roots(files: &CertificateFiles) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        match &files.roots {
            // Certificates of the system that cannot be read are not needed for other servers.
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
            Some(file) => {
                let wrong = || "the file of `sslrootcert` has no certificate".to_owned();
                for certificate in CertificateDer::pem_file_iter(file).map_err(|_| wrong())? {
                    roots.add(certificate.map_err(|_| wrong())?).map_err(|_| wrong())?;
                }
            }
        }
        Ok(roots)
    }

    /// Accepts the certificate of any server. Signatures of the handshake are verified.
    #[derive(Debug)]
    struct AnyCertificate(Arc<CryptoProvider>);

    impl ServerCertVerifier for AnyCertificate {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}

pub(crate) use client::{Tls, connector};
