//! `ServerOptions`: how to connect to a PostgreSQL server, from the URL and, for what it leaves out, from the environment
//! variables and the password file that PostgreSQL's own programs read.

use std::{env, fs, net::IpAddr, path::PathBuf};

use tokio_postgres::{Config, config::SslMode};
use url::Url;

use super::tls::{CertificateFiles, Tls, connector};

/// The directories in which servers on this host create their sockets.
const SOCKET_DIRECTORIES: [&str; 3] = ["/run/postgresql", "/var/run/postgresql", "/tmp"];
const PORT: u16 = 5432;

/// The options of a connection.
#[derive(Clone)]
pub(crate) struct ServerOptions {
    pub(crate) config: Config,
    pub(crate) tls: Tls,
}

/// The properties by which two servers are the same one.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ServerIdentity {
    host: String,
    /// The address that is connected to instead of that of the host.
    hostaddr: Option<IpAddr>,
    port: u16,
    user: String,
    database: String,
    options: Option<String>,
}

impl ServerOptions {
    /// Reads the options from the URL and the environment. The tables are in `schema`, if it is given.
    ///
    /// # Errors
    /// Fails with the reason, which contains no part of the URL, if an option has no valid value.
    pub(crate) fn new(url: &Url, schema: Option<&str>) -> Result<(Self, ServerIdentity), String> {
        let parameters: Vec<_> = url.query_pairs().into_owned().collect();
        let parameter =
            |name: &str| parameters.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value.clone());
        let or_variable = |value: Option<String>, variable: &str| {
            value.or_else(|| env::var(variable).ok()).filter(|text| !text.is_empty())
        };
        let part_of_url = |text: &str| Some(decoded(text)).filter(|text| !text.is_empty());

        let port = parameter("port").or_else(|| Some(url.port()?.to_string()));
        let port = match or_variable(port, "PGPORT") {
            Some(port) => port.parse().map_err(|_| "the port is not a number".to_owned())?,
            None => PORT,
        };
        // In URLs, an IPv6 address is in brackets.
        let host_of_url = || url.host_str().map(|host| host.trim_matches(['[', ']'])).and_then(part_of_url);
        let host = parameter("host").or_else(host_of_url);
        let host = or_variable(host, "PGHOST").unwrap_or_else(|| default_host(port));
        let user = or_variable(parameter("user").or_else(|| part_of_url(url.username())), "PGUSER");
        let user = user.or_else(|| whoami::username().ok()).ok_or("it has no user, and the system names none")?;
        let database = parameter("dbname").or_else(|| part_of_url(url.path().trim_start_matches('/')));
        let database = or_variable(database, "PGDATABASE").unwrap_or_else(|| user.clone());
        let password = or_variable(parameter("password").or_else(|| url.password().map(decoded)), "PGPASSWORD");
        let password = password.or_else(|| password_of_file(&[&host, &port.to_string(), &database, &user]));
        let options = parameters.iter().filter(|(name, _)| name == "options").map(|(_, value)| value.clone());
        // All settings of a repeated parameter apply.
        let options = or_variable(options.reduce(|options, more| format!("{options} {more}")), "PGOPTIONS");
        // The last setting of a variable counts.
        let search = schema.map(|schema| format!("-c search_path={schema}"));
        let options = [options, search].into_iter().flatten().reduce(|options, search| format!("{options} {search}"));

        let mut config = Config::new();
        config.host(&host).port(port).user(&user).dbname(&database);
        config.application_name(or_variable(parameter("application_name"), "PGAPPNAME").as_deref().unwrap_or("fleche"));
        let hostaddr = or_variable(parameter("hostaddr"), "PGHOSTADDR").map(|address| address.parse::<IpAddr>());
        let hostaddr = hostaddr.transpose().map_err(|_| "`hostaddr` is not an address".to_owned())?;
        if let Some(address) = hostaddr {
            config.hostaddr(address);
        }
        if let Some(password) = password {
            config.password(password);
        }
        if let Some(options) = &options {
            config.options(options);
        }
        let mode = or_variable(parameter("sslmode"), "PGSSLMODE");
        let (mode, verifies) = match mode.as_deref() {
            Some("disable") => (SslMode::Disable, false),
            None | Some("allow" | "prefer") => (SslMode::Prefer, false),
            Some("require") => (SslMode::Require, false),
            Some("verify-ca" | "verify-full") => (SslMode::Require, true),
            Some(_) => {
                return Err(
                    "`sslmode` must be `disable`, `allow`, `prefer`, `require`, `verify-ca` or `verify-full`".into()
                );
            }
        };
        config.ssl_mode(mode);
        let file = |name, variable| or_variable(parameter(name), variable).map(PathBuf::from);
        let files = CertificateFiles {
            roots: file("sslrootcert", "PGSSLROOTCERT"),
            client: file("sslcert", "PGSSLCERT").zip(file("sslkey", "PGSSLKEY")),
        };
        let tls = connector(verifies, &files)?;
        Ok((Self { config, tls }, ServerIdentity { host, hostaddr, port, user, database, options }))
    }
}

/// Returns the text with its `%` escapes decoded.
fn decoded(text: &str) -> String {
    // In the query of a URL, `+` means a space.
    let text = text.replace('+', "%2B");
    url::form_urlencoded::parse(text.replace('&', "%26").replace('=', "%3D").as_bytes())
        .map(|(name, _)| name.into_owned())
        .collect()
}

/// Returns the directory of a server's socket on this host if there is one, and otherwise the name of this host.
fn default_host(port: u16) -> String {
    let directory =
        SOCKET_DIRECTORIES.iter().find(|directory| PathBuf::from(directory).join(format!(".s.PGSQL.{port}")).exists());
    directory.map_or_else(|| "localhost".to_owned(), |directory| (*directory).to_owned())
}

/// Returns the password for this host, port, database and user in the file of passwords, unless other users may read it.
fn password_of_file(wanted: &[&str; 4]) -> Option<String> {
    let file = env::var_os("PGPASSFILE").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".pgpass")))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let metadata = fs::metadata(&file).ok()?;
        if !metadata.is_file() || metadata.permissions().mode() & 0o077 != 0 {
            tracing::debug!("the file of PostgreSQL passwords is ignored, since other users may read it");
            return None;
        }
    }
    fs::read_to_string(file).ok()?.lines().find_map(|line| password_in(line, wanted))
}

/// Returns the password in this line of a file of passwords, `host:port:database:user:password`, if the line applies.
fn password_in(line: &str, wanted: &[&str; 4]) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == ':' && fields.len() < 5 {
            fields.push(String::new());
        } else {
            let character = if character == '\\' { characters.next() } else { Some(character) };
            fields.last_mut()?.extend(character);
        }
    }
    let password = fields.get(4)?.clone();
    // A server that is reached through a socket of this host is named `localhost`.
    let is =
        |field: &str, wanted: &str| field == "*" || field == wanted || field == "localhost" && wanted.starts_with('/');
    fields.iter().zip(wanted).all(|(field, wanted)| is(field, wanted)).then_some(password)
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::Host;

    use super::*;

    fn options(url: &str, schema: Option<&str>) -> Result<(ServerOptions, ServerIdentity), String> {
        ServerOptions::new(&Url::parse(url).unwrap(), schema)
    }

    #[test]
    fn parts_of_a_url_are_decoded() {
        let (options, identity) =
            options("postgres://me%40here:s%2F3+c%26r=t@db.example:7/my%20db?application_name=mine", Some("alloys"))
                .unwrap();
        let config = &options.config;
        assert_eq!(config.get_user(), Some("me@here"));
        assert_eq!(config.get_password(), Some(&b"s/3+c&r=t"[..]));
        assert_eq!((config.get_dbname(), config.get_ports()), (Some("my db"), &[7][..]));
        assert_eq!((config.get_application_name(), config.get_ssl_mode()), (Some("mine"), SslMode::Prefer));
        assert_eq!(config.get_options(), Some("-c search_path=alloys"));
        assert_eq!((&*identity.host, identity.port, &*identity.database), ("db.example", 7, "my db"));
    }

    #[test]
    fn ipv6_address_has_no_brackets() {
        let (options, identity) = options("postgres://me@[::1]:7/db", None).unwrap();
        assert_eq!(options.config.get_hosts(), [Host::Tcp("::1".to_owned())]);
        assert_eq!((&*identity.host, identity.port), ("::1", 7));
    }

    #[test]
    fn servers_at_other_addresses_are_other_servers() {
        let of = |url: &str| options(url, None).unwrap().1;
        let first = of("postgres://me@host/db?hostaddr=127.0.0.1");
        assert_ne!(first, of("postgres://me@host/db?hostaddr=127.0.0.2"));
        assert_ne!(first, of("postgres://me@host/db"));
        assert_eq!(first, of("postgres://me@host:5432/db?hostaddr=127.0.0.1"));
    }

    #[test]
    fn parameters_take_precedence_over_the_parts_of_the_url() {
        let (options, identity) =
            options("postgres://me@host:7/db?host=/run/sock&port=8&user=you&dbname=other", None).unwrap();
        assert_eq!((&*identity.host, &*identity.user, &*identity.database), ("/run/sock", "you", "other"));
        assert_eq!((identity.port, options.config.get_ports()), (8, &[8][..]));
        let of = |url: &str| self::options(url, None).unwrap().1;
        assert_eq!(of("postgres://me@host/db?sslmode=disable"), of("postgresql://me@host:5432/db"));
        assert_ne!(of("postgres://me@host/db"), of("postgres://you@host/db"));
    }

    #[test]
    fn all_options_are_sent_and_the_schema_last() {
        let of = |url: &str| options(url, Some("s")).unwrap().0.config.get_options().map(str::to_owned);
        assert_eq!(of("postgres://me@host/db?options=-c%20a%3Db").as_deref(), Some("-c a=b -c search_path=s"));
        let repeated = of("postgres://me@host/db?options=-c%20a%3Db&options=-c%20d%3De");
        assert_eq!(repeated.as_deref(), Some("-c a=b -c d=e -c search_path=s"));
    }

    #[test]
    fn wrong_options_are_refused_without_showing_them() {
        for url in [
            "postgres://me@host/db?sslmode=s3cret",
            "postgres://me@host/db?port=s3cret",
            "postgres://h/?hostaddr=s3cret",
        ] {
            let Err(why) = options(url, None) else { panic!("{url} is accepted") };
            assert!(!why.contains("s3cret"), "{why}");
        }
    }

    #[test]
    fn password_is_found_in_the_line_that_applies() {
        let wanted = ["db.example", "5432", "results", "me"];
        assert_eq!(password_in("db.example:5432:results:me:s3cret", &wanted).as_deref(), Some("s3cret"));
        assert_eq!(password_in("*:*:*:me:a\\:b:c", &wanted).as_deref(), Some("a:b:c"));
        for other in ["db.example:5433:results:me:s3cret", "# *:*:*:*:s3cret", "*:*:*:me", ""] {
            assert_eq!(password_in(other, &wanted), None, "{other}");
        }
        assert_eq!(
            password_in("localhost:*:*:*:s3cret", &["/run/postgresql", "1", "d", "u"]).as_deref(),
            Some("s3cret")
        );
    }
}
