//! Runs the conformance suite over the program `fleche-serve`, which serves stores in files through pipes. Each process that opens the
//! stores has a server of its own.

use std::{
    fs::{self, Permissions},
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
};

use fleche_core::{
    CallStore, Digest, Result, ValueStore, register_backend,
    store::{
        CallStoreConfig, Reach, ValueStoreConfig,
        kit::{CallStoreWrapper, ValueStoreWrapper},
        portable_path,
    },
};
use fleche_remote::RemoteConfig;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

register_backend! {
    name: "remote-file",
    summary: "stores in files of another process, through pipes",
    reach: Reach::Shared,
    durable: true,
    scratch: |directory| {
        let config = Served { directory: directory.to_owned() };
        (Box::new(config.clone()), Box::new(config))
    },
}

/// Remote stores in a directory. Every process may open them from text, unlike those of a command that one program names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Served {
    #[serde(with = "portable_path")]
    directory: PathBuf,
}

impl Served {
    /// Returns the configuration of the stores that `fleche-serve` opens in the directory.
    fn remote(&self) -> RemoteConfig {
        // The directory's name need not be Unicode, and tests remove what is in it.
        let name = Digest::hash(self.directory.as_os_str().as_encoded_bytes()).to_string();
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let config = place.join("fleche.toml");
        if !config.exists() {
            fs::create_dir_all(&place).unwrap();
            // Another thread may do the same.
            let _ = symlink(&self.directory, place.join("here"));
            let store = |kind: &str| format!("{kind} = {{ type = \"file\", root = \"here/{kind}\" }}");
            let mut file = NamedTempFile::new_in(&place).unwrap();
            write!(file, "[cache.served]\n{}\n{}\n", store("values"), store("calls")).unwrap();
            file.as_file().set_permissions(Permissions::from_mode(0o644)).unwrap();
            file.persist(&config).unwrap();
        }
        let config = format!("FLECHE_CONFIG={}", config.display());
        RemoteConfig::command("env", [&config, env!("CARGO_BIN_EXE_fleche-serve"), "--cache", "served"])
    }
}

macro_rules! served_store {
    ($store:ident, $config:ident, $wrapper:ident, $served:ident) => {
        #[derive(Debug)]
        struct $served {
            config: Served,
            store: Arc<dyn $store>,
        }

        impl $wrapper for $served {
            type Inner = dyn $store;

            fn inner(&self) -> &Self::Inner {
                &*self.store
            }
            fn config(&self) -> Box<dyn $config> {
                Box::new(self.config.clone())
            }
        }

        #[typetag::serde(name = "remote-file")]
        impl $config for Served {
            fn open(&self) -> Result<Arc<dyn $store>> {
                Ok(Arc::new($served { config: self.clone(), store: $config::open(&self.remote())? }))
            }
            fn reach(&self) -> Reach {
                Reach::Shared
            }
        }
    };
}

served_store! { ValueStore, ValueStoreConfig, ValueStoreWrapper, ServedValues }
served_store! { CallStore, CallStoreConfig, CallStoreWrapper, ServedCalls }

fleche_conformance::suite!(fleche_store_file, "remote-file");
