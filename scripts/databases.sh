#!/bin/sh
# Runs a command beside real database servers, so that the store is tested on them:
#
#   scripts/databases.sh [postgres] [mariadb] -- COMMAND…
#
# The servers listen on free loopback ports, keep their data in a temporary directory and end with the command, which
# finds their URLs in KEYWEIR_TEST_POSTGRES and KEYWEIR_TEST_MYSQL. As root on a Debian-like system a missing server is
# installed; anywhere else its tests are skipped, and that is said.
set -eu

has() { command -v "$1" >/dev/null 2>&1; }
say() { printf '%s\n' "$*" >&2; }

# Debian keeps initdb and postgres out of the PATH.
for folder in /usr/lib/postgresql/*/bin /usr/sbin; do
    [ -d "$folder" ] && PATH="$folder:$PATH"
done

# The servers as SIGNAL:PID, with the signal that ends each at once.
data='' servers=''
finish() {
    status=$?
    trap - EXIT INT TERM
    for server in $servers; do
        kill "-${server%:*}" "${server#*:}" 2>/dev/null || true
    done
    for server in $servers; do
        wait "${server#*:}" 2>/dev/null || true
    done
    [ -z "$data" ] || rm -rf "$data"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

data=$(mktemp -d)
chmod 755 "$data"
password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# install PACKAGE: its service is not started.
install() {
    if ! has apt-get || [ "$(id -u)" != 0 ]; then return 1; fi
    say "Installing $1"
    policy=''
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    installed=0
    {
        apt-get install -y --no-install-recommends "$1" ||
            { apt-get update && apt-get install -y --no-install-recommends "$1"; }
    } </dev/null >&2 || installed=1
    [ -z "$policy" ] || rm -f "$policy"
    for folder in /usr/lib/postgresql/*/bin; do
        [ -d "$folder" ] && PATH="$folder:$PATH"
    done
    return "$installed"
}

# as USER: what a command is put behind to run as that user, for a server refuses to run as root.
as() {
    [ "$(id -u)" != 0 ] || printf 'setpriv --reuid=%s --regid=%s --init-groups' "$1" "$1"
}

# folder_of USER NAME: a directory the server may write to.
folder_of() {
    mkdir "$data/$2"
    if [ "$(id -u)" = 0 ]; then chown "$1" "$data/$2"; fi
    chmod 700 "$data/$2"
    printf '%s' "$data/$2"
}

# ready NAME PID COMMAND…: waits until the command succeeds.
ready() {
    name=$1 pid=$2
    shift 2
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -gt 300 ] || ! kill -0 "$pid" 2>/dev/null; then
            say "$name did not start:"
            tail -n 20 "$data/$name.log" >&2
            exit 1
        fi
        sleep 0.2
    done
}

start_postgres() {
    has initdb || install postgresql || { say 'PostgreSQL is not installed: the store is not tested on it.'; return 0; }
    folder=$(folder_of postgres postgres)
    port=$(free_port)
    printf '%s' "$password" >"$data/password"
    chmod 644 "$data/password"
    # shellcheck disable=SC2046
    $(as postgres) initdb -D "$folder" -U keyweir -A scram-sha-256 --pwfile="$data/password" -E UTF8 --locale=C.UTF-8 \
        >"$data/postgres.log" 2>&1 || { tail -n 20 "$data/postgres.log" >&2; exit 1; }
    rm "$data/password"
    # shellcheck disable=SC2046
    $(as postgres) postgres -D "$folder" -p "$port" -c listen_addresses=127.0.0.1 -c fsync=off \
        -c unix_socket_directories="$folder" >>"$data/postgres.log" 2>&1 &
    pid=$!
    servers="$servers INT:$pid"
    ready postgres "$pid" pg_isready -q -h 127.0.0.1 -p "$port"
    export KEYWEIR_TEST_POSTGRES="postgres://keyweir:$password@127.0.0.1:$port/postgres"
}

start_mariadb() {
    has mariadbd || install mariadb-server || { say 'MariaDB is not installed: the store is not tested on it.'; return 0; }
    folder=$(folder_of mysql mariadb)
    port=$(free_port)
    # shellcheck disable=SC2046
    $(as mysql) mariadb-install-db --no-defaults --datadir="$folder" --auth-root-authentication-method=normal \
        --skip-test-db >"$data/mariadb.log" 2>&1 || { tail -n 20 "$data/mariadb.log" >&2; exit 1; }
    # shellcheck disable=SC2046
    $(as mysql) mariadbd --no-defaults --datadir="$folder" --socket="$folder/socket" --pid-file="$folder/pid" \
        --port="$port" --bind-address=127.0.0.1 --innodb-flush-log-at-trx-commit=0 >>"$data/mariadb.log" 2>&1 &
    pid=$!
    servers="$servers TERM:$pid"
    ready mariadb "$pid" mariadb-admin --no-defaults -u root --socket="$folder/socket" ping
    mariadb --no-defaults -u root --socket="$folder/socket" <<SQL
CREATE USER keyweir@'127.0.0.1' IDENTIFIED BY '$password';
GRANT ALL ON *.* TO keyweir@'127.0.0.1';
ALTER USER root@localhost IDENTIFIED BY '$password';
SQL
    export KEYWEIR_TEST_MYSQL="mysql://keyweir:$password@127.0.0.1:$port/mysql"
}

while [ $# -gt 0 ] && [ "$1" != -- ]; do
    case $1 in
        postgres | mariadb) "start_$1" ;;
        *)
            say "usage: $0 [postgres] [mariadb] -- COMMAND…"
            exit 2
            ;;
    esac
    shift
done
shift
"$@"
