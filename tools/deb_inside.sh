#!/usr/bin/env bash
# What a DBA does with the packages, on a bare Debian: tools/deb_check.sh runs it there.
set -euo pipefail

ENVIRONMENT=/var/lib/trails/venv
notes=$(mktemp -d) # what the steps leave to be looked at

say() { printf '[deb-check] %4d s  %s\n' "$SECONDS" "$*"; }
die() {
    printf '[deb-check] error: %s\n' "$@" >&2
    exit 1
}
# is WHAT WANTED FOUND
is() { [ "$2" = "$3" ] || die "$1: '$3', and not '$2'"; }
quietly() { "$@" >"$notes/log" 2>&1 </dev/null || { cat "$notes/log" >&2 && die "failed: $*"; }; }
# sql STATEMENT...: in a new session, as the superuser, in the database of the check.
sql() {
    local statement
    local -a commands=()
    for statement in "$@"; do commands+=(--command "$statement"); done
    runuser -u postgres -- psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname "${DATABASE:-shop}" \
        "${commands[@]}"
}
# files: everything that is there, but for what the system's programs and the cluster write as they go.
files() {
    find / -xdev \( -path /proc -o -path /dev -o -path /tmp -o -path /run -o -path /var/cache -o -path /var/log -o -path /var/lib/apt \
        -o -path /var/lib/dpkg -o -path /var/lib/postgresql -o -path /etc/postgresql -o -path /packages -o -path /older \
        -o -path /wheels -o -name __pycache__ \) -prune -o -print | LC_ALL=C sort
}

cd /
quietly apt-get update
# What ours depend on first, so that what they bring themselves can be told apart.
for package in /older/*.deb; do dpkg-deb --field "$package" Depends; done | paste -sd , >"$notes/depends"
quietly apt-get satisfy -y --no-install-recommends "$(cat "$notes/depends")"
files >"$notes/before"
say "what the packages depend on is installed"

majors=$(for package in /packages/postgresql-*-trails_*.deb; do basename "$package" | cut -d - -f 2; done)
major=$(head -n 1 <<<"$majors")
cluster=$major/main
quietly apt-get install -y --no-install-recommends /older/*.deb
say "installed: $(dpkg-query --show --showformat '${Package} ${Version}, ${Installed-Size} kB; ' '*trails*')"
[ ! -e "$ENVIRONMENT" ] || die "installing made an environment"
trails-environment --help >/dev/null

[ -e "/etc/postgresql/$cluster" ] || quietly pg_createcluster "$major" main
pg_conftool "$major" main set listen_addresses ''
pg_ctlcluster "$major" main start
DATABASE=postgres sql 'CREATE DATABASE shop'
sql 'CREATE EXTENSION trails'
refused=$(sql 'SELECT count(*) FROM trails.tfmems()' 2>&1) && die "without an environment there was an answer"
grep -q 'trails.virtualenv is not set' <<<"$refused" || die "without an environment: $refused"
say "CREATE EXTENSION; without an environment a statement says that it is not set"

options=(--yes --configure "$cluster")
[ -z "${WHEELS:-}" ] || options+=(--from "$WHEELS")
# Cut once while it is at work, as a lost connection or a reboot does.
status=0
timeout --signal=INT 45 trails-environment "${options[@]}" >"$notes/cut" 2>&1 || status=$?
say "trails-environment, cut after 45 s: status $status, $(tail -n 1 "$notes/cut")"
trails-environment "${options[@]}" >"$notes/environment" 2>&1 || { tail -n 40 "$notes/environment" >&2 && die "trails-environment"; }
say "$(grep 'is complete' "$notes/environment")"
sed -n '/is complete/,$p' "$notes/environment" | tail -n +2
[ -z "$(find "$ENVIRONMENT" ! -user root -print -quit)" ] || die "not all of the environment is root's"
runuser -u postgres -- "$ENVIRONMENT/bin/python" -c 'import torch; print("torch", torch.__version__)'
is 'run again' 1 "$(trails-environment --configure "$cluster" 2>&1 >/dev/null | grep -c 'environment in .* is complete$')"

is metrics t "$(sql 'SELECT count(*) > 0 FROM trails.tfmems()')"
sql 'CREATE TABLE orders AS
     SELECT i AS id, mod(i * 7919, 13) AS item, mod(i * 104729, 7) AS shop,
            mod(i * 7919, 13) + mod(i * 104729, 7) > 9 AS returned
     FROM generate_series(1, 3000) i' 'ALTER TABLE orders ADD PRIMARY KEY (id)'
sql "SELECT architecture, validation_metric, model
     FROM trails.model_selection('orders', 'returned', budget => '30 s', name => 'returns') WHERE rank = 1"
sql "SELECT metric, round(value::numeric, 4) FROM trails.evaluate('returns', 'orders')"
predictions="SELECT md5(string_agg(key || prediction || score, ',' ORDER BY key::int)) FROM trails.predict('returns', 'orders')"
before=$(sql "$predictions")
is rows 3000 "$(sql "SELECT count(*) FROM trails.predict('returns', 'orders')")"
extension=$(sql "SELECT extversion FROM pg_extension WHERE extname = 'trails'")
say "a model was selected and predicts"

quietly apt-get install -y --no-install-recommends /packages/*.deb
grep -E 'trails' "$notes/log" | grep -vE '^(Get|Preparing|Unpacking|Setting up|Selecting|Note)' || true
sql 'ALTER EXTENSION trails UPDATE'
is 'predictions after the upgrade' "$before" "$(sql "$predictions")"
is 'models after the upgrade' 1 "$(sql 'SELECT count(*) FROM trails.models')"
is 'the environment' "state complete" "$(head -n 1 "$ENVIRONMENT/.trails-environment")"
sql "SELECT 'again', rank, architecture FROM trails.model_selection('orders', 'returned', budget => '15 s', k => 1, u => 1) WHERE rank = 1"
say "upgraded to $(dpkg-query --show --showformat '${Version}' "postgresql-$major-trails"), the extension from $extension to $(
    sql "SELECT extversion FROM pg_extension WHERE extname = 'trails'"
)"

mapfile -t ours < <(for package in /packages/*.deb; do dpkg-deb --field "$package" Package; done)
quietly apt-get remove -y "${ours[@]}"
[ -e "$ENVIRONMENT/bin/python" ] || die "removing took the environment"
quietly apt-get purge -y "${ours[@]}"
files >"$notes/after"
if ! diff "$notes/before" "$notes/after" >"$notes/left"; then
    cat "$notes/left" >&2
    die "purging left something, or took too much"
fi
# The setting stays in the cluster: the server must start with it all the same.
pg_ctlcluster "$major" main restart
sql 'ALTER SYSTEM RESET trails.virtualenv'
is 'the table' 3000 "$(sql 'SELECT count(*) FROM orders')"
pg_ctlcluster "$major" main stop
say "removed and purged: nothing of ours is left, and the server starts"
