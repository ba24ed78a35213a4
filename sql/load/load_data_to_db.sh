#!/usr/bin/env bash
# Load a LibSVM dataset into PostgreSQL with psql and standard tools; the same tables as `python -m trails load`.
set -euo pipefail
readonly BAD=9 # status of the inner commands for data that cannot be loaded

usage() {
    cat <<'HELP'
usage: load_data_to_db.sh [--as-text] [--schema S] DIR NAME [DSN]

Loads DIR/train.libsvm, DIR/valid.libsvm and DIR/test.libsvm (plain, .xz or .gz; or the same in DIR/NAME)
into the tables NAME_train, NAME_valid and NAME_test: id (1 to the number of rows, primary key), label, and
one integer column per field, named as DIR/fields.tsv says (col1 to colN when there is no such file).

  --as-text    TEXT columns col1 to colN that hold id:value instead
  --schema S   an existing schema (default: the first of the search_path)
  DSN          the database, as a URI or as key=value pairs (default: $TRAILS_DSN, else libpq's environment)

Every line is checked; a malformed one is reported as file:line: reason. All is one transaction: other
sessions see the old rows until it commits, and any error leaves everything as it was. A table that has the
same columns already keeps its views, rights and indexes.

exit status: 0; 2 bad arguments or data; 1 any other error
HELP
}

fail() { # fail STATUS MESSAGE
    printf 'load_data_to_db.sh: error: %s\n' "$2" >&2
    exit "$1"
}

as_text=0
schema=
arguments=()
while (($#)); do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --as-text) as_text=1 ;;
        --schema) (($# > 1)) || fail 2 '--schema needs a value'; schema=$2; shift ;;
        --schema=*) schema=${1#*=} ;;
        --) shift; arguments+=("$@"); break ;;
        -*) fail 2 "unknown option $1 (--help lists them)" ;;
        *) arguments+=("$1") ;;
    esac
    shift
done
((${#arguments[@]} == 2 || ${#arguments[@]} == 3)) || { usage >&2; exit 2; }
folder=${arguments[0]%/}
name=${arguments[1]}
dsn=${arguments[2]-${TRAILS_DSN-}}
export PGCLIENTENCODING=UTF8 PGAPPNAME=load_data_to_db.sh
# Bytes, not characters: lengths of identifiers, speed, and the same answer everywhere.
export LC_ALL=C

[[ -n $name && $name != */* && $name != . && $name != .. && ${#name} -le 57 ]] \
    || fail 2 "not a dataset's name: '$name' (it names tables: 1 to 57 bytes, without a slash)"
for tool in psql awk; do
    command -v "$tool" >/dev/null || fail 1 "$tool is not installed"
done

file_of() { # file_of FOLDER SPLIT
    local suffix
    for suffix in '' .xz .gz; do
        if [[ -f $1/$2.libsvm$suffix ]]; then
            printf '%s\n' "$1/$2.libsvm$suffix"
            return
        fi
    done
    return 1
}

file_of "$folder" train >/dev/null || folder=$folder/$name
declare -A files
for split in train valid test; do
    files[$split]=$(file_of "$folder" "$split") || fail 2 "$split.libsvm (or .xz, .gz) is not in ${arguments[0]}"
done

content() { # content FILE
    case $1 in
        *.xz) xz -dc -- "$1" ;;
        *.gz) gzip -dc -- "$1" ;;
        *) cat -- "$1" ;;
    esac
}

# fields.tsv, or what the first line of the training rows says, as lines "first_id <tab> last_id <tab> name".
fields_of_dataset() {
    if [[ -f $folder/fields.tsv ]]; then
        awk -F '\t' -v file="$folder/fields.tsv" -v largest=2147483647 '
            function refuse(reason) { print file ":" NR ": " reason > "/dev/stderr"; failed = 1; exit 2 }
            { sub(/\r$/, "") }
            NR == 1 {
                if ($0 != "field\tfirst_id\tn_values")
                    refuse("the header must be field, first_id, n_values, separated by tabs")
                next
            }
            NF != 3 { refuse(NF " tab-separated values instead of 3") }
            $1 == "" || length($1) > 63 { refuse("a field'\''s name must have 1 to 63 bytes: '\''" $1 "'\''") }
            $1 == "id" || $1 == "label" {
                refuse("the name '\''" $1 "'\'' belongs to a column that every table has")
            }
            $1 in seen { refuse("the field '\''" $1 "'\'' is there twice") }
            $2 !~ /^[0-9]+$/ || $3 !~ /^[0-9]+$/ {
                refuse("first_id and n_values must be integers of 0 and more")
            }
            $3 < 1 || $2 + $3 - 1 > largest {
                refuse("ids must lie between 0 and " largest ", at least one per field")
            }
            ++count > 1598 { refuse("more than 1598 fields, which no table can hold") }
            { seen[$1] = 1; printf "%d\t%d\t%s\n", $2, $2 + $3 - 1, $1 }
            END {
                if (!failed && !count) { print file ":1: no field is listed" > "/dev/stderr"; exit 2 }
                if (failed) exit 2
            }' "$folder/fields.tsv"
    else
        # awk reads one line and leaves, which ends the decompressor: its complaint is not ours.
        { content "${files[train]}" 2>/dev/null || true; } | awk -v file="${files[train]}" '
            function refuse(reason) { print file ":1: " reason > "/dev/stderr"; failed = 1; exit 2 }
            NR == 1 && NF < 2 { refuse("no field: a line is '\''label id:value id:value ...'\''") }
            NR == 1 && NF > 1599 { refuse(NF - 1 " fields, more than the 1598 that a table can hold") }
            NR == 1 { for (i = 1; i < NF; i++) print "0\t2147483647\tcol" i; exit }'
    fi
}

# Check the lines of one file (on standard input) and write the rows of COPY.
rows() { # rows FILE TABLE
    # An environment variable keeps the newlines and backslashes that -v would interpret.
    awk_fields=$fields awk_file=$1 awk_table=$2 awk_text=$as_text awk '
        function refuse(reason,    valid) {
            # The longest prefix that is UTF-8; what follows it is not.
            match(original, /^([\001-\177]|[\302-\337][\200-\277]|\340[\240-\277][\200-\277]|[\341-\354\356\357][\200-\277][\200-\277]|\355[\200-\237][\200-\277]|\360[\220-\277][\200-\277][\200-\277]|[\361-\363][\200-\277][\200-\277][\200-\277]|\364[\200-\217][\200-\277][\200-\277])*/)
            if (RLENGTH < length(original) && substr(original, RLENGTH + 1, 1) ~ /[\200-\377]/)
                reason = "byte " RLENGTH + 1 " is not UTF-8"
            print file ":" NR ": " reason > "/dev/stderr"
            failed = 1
            exit '$BAD'
        }
        function show(token) {
            gsub(/[\001-\037\177]/, "?", token)
            return length(token) > 40 ? "'\''" substr(token, 1, 40) "...'\''" : "'\''" token "'\''"
        }
        BEGIN {
            file = ENVIRON["awk_file"]; table = ENVIRON["awk_table"]; as_text = ENVIRON["awk_text"]
            count = split(ENVIRON["awk_fields"], line, "\n")
            for (i = 1; i <= count; i++) {
                split(line[i], part, "\t")
                low[i] = part[1] + 0; high[i] = part[2] + 0; field[i] = part[3]
            }
        }
        # The plainest lines, which are nearly all of them.
        NF == count + 1 && /^[01]( [0-9]+:1)+$/ {
            row = $0
            gsub(/:1/, "", row)
            split(row, id, " ")
            good = 1
            for (i = 1; i <= count; i++)
                if (id[i + 1] + 0 < low[i] || id[i + 1] + 0 > high[i]) { good = 0; break }
            if (good) {
                if (as_text) row = $0
                gsub(/ /, "\t", row)
                print NR "\t" row
                if (NR % 1000000 == 0) print table ": " NR " rows" > "/dev/stderr"
                next
            }
        }
        {
            original = $0
            text = $0
            sub(/\r$/, "", text); sub(/^[ \t]+/, "", text); sub(/[ \t]+$/, "", text)
            n = text == "" ? 0 : split(text, token, /[ \t]+/)
            if (n == 0) refuse("blank line")
            if (token[1] != "0" && token[1] != "1" || length(token[1]) != 1)
                refuse("the label must be 0 or 1: " show(token[1]))
            if (n != count + 1)
                refuse("too " (n < count + 1 ? "few" : "many") " fields: " n - 1 " instead of " count)
            row = NR "\t" token[1]
            for (i = 1; i <= count; i++) {
                where = "field " i " (" field[i] "): "
                colon = index(token[i + 1], ":")
                if (!colon) refuse(where "not id:value: " show(token[i + 1]))
                id_text = substr(token[i + 1], 1, colon - 1)
                value = substr(token[i + 1], colon + 1)
                if (id_text !~ /^[0-9]+$/)
                    refuse(where "the id must be an integer of 0 and more: " show(token[i + 1]))
                if (value !~ /^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$/)
                    refuse(where "the value must be a number: " show(token[i + 1]))
                if (id_text + 0 < low[i] || id_text + 0 > high[i])
                    refuse(where "the id " show(id_text) " is outside " low[i] " to " high[i])
                if (value + 0 != 1) others++
                row = row "\t" (as_text ? token[i + 1] : id_text)
            }
            print row
        }
        END {
            if (failed) exit '$BAD'
            if (!NR) { print file " holds no line" > "/dev/stderr"; exit '$BAD' }
            print table ": " NR " rows" > "/dev/stderr"
            if (others && !as_text)
                print table ": " others " values other than 1 are left out: integer columns hold ids only, " \
                    "--as-text keeps the values" > "/dev/stderr"
        }'
}

# The statements, with the rows in between. It stops before COMMIT at the first error, and psql then ends without it.
script() {
    local split ends
    cat <<'SQL'
begin;
set local client_min_messages = warning;
select '' from (select set_config('trails_load.schema', case :'schema' when '' then current_schema() else :'schema' end, true),
                       set_config('trails_load.names', :'names', true), set_config('trails_load.kind', :'kind', true),
                       set_config('trails_load.done', '', true)) as s \g /dev/null
do $$
begin
    if not exists (select from pg_namespace where nspname = current_setting('trails_load.schema')) then
        raise exception 'there is no schema "%"', current_setting('trails_load.schema');
    end if;
end $$;
select current_setting('trails_load.schema') as schema \gset
select pg_advisory_xact_lock(hashtext('trails.load ' || :'schema' || '.' || :'name')) \g /dev/null
SQL
    for split in train valid test; do
        printf '\\set split %s\n' "$split"
        cat <<'SQL'
select set_config('trails_load.table', :'name' || '_' || :'split', true) \g /dev/null
do $$
declare
    schema constant text := current_setting('trails_load.schema');
    name constant text := current_setting('trails_load.table');
    kind constant text := current_setting('trails_load.kind');
    names constant text[] := string_to_array(current_setting('trails_load.names'), e'\n');
    fresh constant text := 'trails_load_' || pg_backend_pid();
    existing record;
    expected text[];
begin
    select c.relkind,
           array_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
                     || case when a.attnotnull then ' not null' else '' end order by a.attnum) as columns,
           exists (select from pg_index i
                   where i.indrelid = c.oid and i.indisprimary and i.indkey::text = '1') as keyed
      into existing
      from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
     where c.relnamespace = (select oid from pg_namespace where nspname = schema) and c.relname = name
     group by c.oid, c.relkind;
    if existing.relkind <> 'r' then
        raise exception '%.% exists and is not an ordinary table', schema, name;
    end if;
    select array['id integer not null', 'label integer not null'] || array_agg(n || ' ' || kind order by place)
      into expected from unnest(names) with ordinality as u(n, place);
    if existing.columns = expected and existing.keyed then
        execute format('truncate %I.%I', schema, name);
        perform set_config('trails_load.action', 'refilled', true);
        perform set_config('trails_load.into', name, true);
    else
        execute (select format('create table %I.%I (id integer, label integer, %s)', schema, fresh,
                               string_agg(format('%I %s', n, kind), ', ' order by place))
                 from unnest(names) with ordinality as u(n, place));
        perform set_config('trails_load.action', case when existing.relkind is null then 'created' else 'replaced' end, true);
        perform set_config('trails_load.into', fresh, true);
    end if;
end $$;
select current_setting('trails_load.into') as into \gset
copy :"schema".:"into" from stdin with (freeze);
SQL
        content "${files[$split]}" | rows "${files[$split]}" "${name}_$split"
        ends=("${PIPESTATUS[@]}")
        # awk has its own statuses for its own troubles, such as a psql that has gone.
        if ((ends[1] == BAD || (ends[0] != 0 && ends[1] == 0))); then return $BAD; fi
        ((ends[1] == 0)) || return 1
        printf '\\.\n'
        cat <<'SQL'
do $$
declare
    schema constant text := current_setting('trails_load.schema');
    name constant text := current_setting('trails_load.table');
    fresh constant text := current_setting('trails_load.into');
begin
    if fresh <> name then
        execute format('drop table if exists %I.%I', schema, name);
        execute format('alter table %I.%I rename to %I', schema, fresh, name);
        -- Only now: PostgreSQL names constraints after the table.
        execute format('alter table %I.%I alter label set not null, add primary key (id)', schema, name);
    end if;
end $$;
select :'name' || '_' || :'split' as table \gset
analyze :"schema".:"table";
select set_config('trails_load.done', concat(current_setting('trails_load.done'), :'schema', '.', :'table', e'\t',
                  (select count(*) from :"schema".:"table"), e'\t', current_setting('trails_load.action'), e'\n'), true) \g /dev/null
SQL
    done
    cat <<'SQL'
select rtrim(current_setting('trails_load.done'), e'\n') as done \gset
commit;
\echo :done
SQL
}

fields=$(fields_of_dataset) || exit 2
[[ -n $fields ]] || fail 2 "${files[train]} holds no line"
kind=integer
names=$(cut -f 3- <<<"$fields")
if ((as_text)); then
    kind=text
    names=$(awk '{ print "col" NR }' <<<"$fields")
fi
connect=()
[[ -z $dsn ]] || connect=(--dbname "$dsn")
echo "$name: from $folder" >&2

set +e
script | psql "${connect[@]}" -X -q -A -t -v ON_ERROR_STOP=1 -v schema="$schema" -v name="$name" \
    -v names="$names" -v kind="$kind" -f -
status=("${PIPESTATUS[@]}")
set -e
((status[0] != BAD)) || fail 2 'nothing was loaded'
((status[0] == 0 && status[1] == 0)) || fail 1 'nothing was loaded'
