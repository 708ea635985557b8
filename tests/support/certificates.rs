//! Certificates that are made for a test, by an authority that is made for it, too.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SanType,
};
use tempfile::TempDir;

/// An authority, and files of what it issues.
pub(crate) struct Ca {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Certificates between what it issues and the root, in PEM.
    between: String,
}

/// The files of a certificate and of its key.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) chain: String,
    pub(crate) key: String,
}

/// What certificates are for.
pub(crate) const SERVER: ExtendedKeyUsagePurpose = ExtendedKeyUsagePurpose::ServerAuth;
pub(crate) const CLIENT: ExtendedKeyUsagePurpose = ExtendedKeyUsagePurpose::ClientAuth;

impl Ca {
    /// A root.
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(authority(name), key).unwrap();
        Self::of(issuer, String::new())
    }

    /// An authority that this one vouches for.
    pub(crate) fn below(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::signed_by(authority(name), key, &self.issuer).unwrap();
        let between = issuer.pem() + &self.between;
        Self::of(issuer, between)
    }

    fn of(issuer: CertifiedIssuer<'static, KeyPair>, between: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer, between }
    }

    /// The file of its own certificate.
    pub(crate) fn file(&self) -> String {
        path(self.folder.path(), "ca.pem")
    }

    /// Issues a certificate of these names, which begin with `dns:` or `uri:`.
    pub(crate) fn issue(
        &self,
        file: &str,
        names: &[&str],
        edit: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, file);
        params.subject_alt_names = names.iter().map(|name| alternative(name)).collect();
        edit(&mut params);
        let key = KeyPair::generate().unwrap();
        let own = params.signed_by(&key, &self.issuer).unwrap();
        let issued = Issued {
            chain: path(self.folder.path(), &format!("{file}.pem")),
            key: path(self.folder.path(), &format!("{file}.key")),
        };
        std::fs::write(&issued.chain, own.pem() + &self.between).unwrap();
        std::fs::write(&issued.key, key.serialize_pem()).unwrap();
        issued
    }
}

impl Issued {
    /// As options name it.
    pub(crate) fn options(&self) -> [&str; 4] {
        ["--tls-cert", &self.chain, "--tls-key", &self.key]
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn alternative(name: &str) -> SanType {
    match name.split_once(':').unwrap() {
        ("dns", name) => SanType::DnsName(name.try_into().unwrap()),
        ("uri", name) => SanType::URI(name.try_into().unwrap()),
        ("ip", name) => SanType::IpAddress(name.parse().unwrap()),
        (kind, _) => panic!("no kind of names: {kind}"),
    }
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}
