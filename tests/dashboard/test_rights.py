"""A dashboard shows what its role may read, says what it may not, and writes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.dashboard.conftest import Database, Start
from tests.dashboard.site import Page, Site

Role = Callable[..., str]


def test_a_role_without_rights_is_told_so_on_every_page(shop: Database, start: Start, role: Role) -> None:
    site = start(dsn=shop.dsn(role(shop)))
    for path in ("/", "/runs/1", "/runs/1/trials", "/models", "/models/buyers"):
        answer = site.get(path)
        text = Page(answer.text).text
        assert answer.status in (200, 403) and "permission denied" in text and "GRANT trails_user" in text, path
        assert "Traceback" not in text
    assert site.stop() == 0 and site.log == ""


def test_a_user_sees_its_own_runs_and_what_was_granted(shop: Database, start: Start, role: Role) -> None:
    name = role(shop)
    shop.sql(f"GRANT trails_user TO {name}")
    site = start(dsn=shop.dsn(name))
    assert "There is no run that this role may see" in site.page("/").text
    assert site.get("/runs/1").status == 404 and site.get("/models/buyers").status == 404
    shop.sql("SELECT trails.grant_model('buyers', %s)", name)
    model = site.page("/models/buyers?source=later")
    assert "permission denied for table later" in model.text and "GRANT SELECT ON it" in model.text
    shop.sql(f"GRANT SELECT ON later TO {name}")
    judged = site.page("/models/buyers?source=later")
    assert "Confusion matrix" in judged.text and "permission denied" not in judged.text
    # Whose model it is says its owner; the run that made it is not this role's.
    assert "Rows it was trained on" not in judged.text
    # What the model itself keeps of the run is shown in the place of a link that would lead nowhere.
    assert "its record is gone, or another role's" in judged.text and "/runs/1" not in judged.links
    assert "of public.visits and were compared on 1,000 rows of public.later" in judged.text
    assert {"public.visits", "public.later"} <= offers(judged)
    assert site.get("/models/buyers?owner=postgres").status == 200 and site.get("/models/buyers?owner=x").status == 404


def offers(page: Page) -> set[str]:
    """Relations that a form proposes."""
    return set(re.findall('<option value="([^"]+)">the r', page.html))


def test_a_superuser_is_offered_nothing_that_others_own(shop: Database, site: Site, role: Role) -> None:
    name = role(shop)
    assert offers(site.page("/models/buyers?version=1")) == {"public.visits", "public.later"}
    assert "/runs/1" in site.page("/models/buyers?version=1").links
    shop.sql(f"ALTER TABLE visits OWNER TO {name}")
    try:
        assert offers(site.page("/models/buyers?version=1")) == {"public.later"}
    finally:
        shop.sql("ALTER TABLE visits OWNER TO postgres")


def test_what_only_one_table_denies_is_missing_from_its_page_and_nothing_else(
    shop: Database, start: Start, role: Role
) -> None:
    name = role(shop, "SUPERUSER")
    site = start(dsn=shop.dsn(name))
    shop.sql(f"ALTER ROLE {name} NOSUPERUSER BYPASSRLS")
    shop.sql(f"GRANT USAGE ON SCHEMA trails TO {name}")
    shop.sql(f"GRANT SELECT ON trails.runs, trails.candidates, trails.trials TO {name}")
    page = Page(site.get("/runs/1").text)
    assert "Phases cannot be read: permission denied for table timings" in page.text
    assert "Models cannot be read: permission denied for table models" in page.text
    assert page.tables[0][1][0] == "1" and page.data


WRITES = """
CREATE TABLE written (n integer);
CREATE FUNCTION write_down() RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO public.written VALUES (1); RETURN true; END $$;
CREATE VIEW writing AS SELECT l.* FROM later l WHERE write_down();
CREATE VIEW sleeping AS SELECT l.* FROM later l WHERE pg_sleep(20) IS NOT NULL;
"""


def test_nothing_is_written_and_nothing_takes_for_ever(shop: Database, start: Start) -> None:
    shop.sql(WRITES)
    site = start("--timeout", "1", dsn=shop.dsn())
    refused = site.page("/models/buyers?source=writing").text
    assert "cannot be evaluated" in refused and "read-only transaction" in refused
    assert shop.sql("SELECT count(*) FROM written") == [(0,)]
    assert "statement timeout" in site.page("/models/buyers?source=sleeping").text
    compared = site.page("/models/buyers/compare?left=1&right=2&source=writing").text
    assert "cannot be compared" in compared and "read-only transaction" in compared
    assert "Recorded" in site.page("/").text


def test_names_are_looked_up_as_the_roles_own_and_the_catalogue_is_not(
    shop: Database, start: Start, role: Role
) -> None:
    name = role(shop)
    shop.sql(f"GRANT trails_user TO {name}; CREATE SCHEMA {name} AUTHORIZATION {name}")
    shop.sql(f"CREATE TABLE {name}.mine AS SELECT * FROM later; GRANT SELECT ON {name}.mine TO {name}")
    shop.sql("SELECT trails.grant_model('buyers', %s)", name)
    shop.sql(
        f"""CREATE FUNCTION {name}.trap(text, name) RETURNS boolean LANGUAGE plpgsql AS
            $$ BEGIN RAISE 'trapped'; END $$;
        CREATE OPERATOR {name}.= (LEFTARG = text, RIGHTARG = name, FUNCTION = {name}.trap);
        CREATE FUNCTION {name}.lower(name) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
        CREATE FUNCTION {name}.pg_get_userbyid(regrole) RETURNS name LANGUAGE plpgsql AS
            $$ BEGIN RAISE 'trapped'; END $$"""
    )
    site = start(dsn=shop.dsn(name))
    for path in ("/", "/models", "/models/buyers", "/models/buyers?source=mine"):
        text = site.page(path).text
        assert "trapped" not in text
    assert "Confusion matrix" in text
    shop.sql(f"DROP SCHEMA {name} CASCADE")


def test_a_database_without_the_extension_is_told_of(bare: Database, start: Start) -> None:
    bare.sql("DROP EXTENSION trails")
    site = start(dsn=bare.dsn())
    for path in ("/", "/models", "/runs/1"):
        text = Page(site.get(path).text).text
        assert "does not exist" in text and "CREATE EXTENSION trails" in text
    assert site.stop() == 0 and site.log == ""


def test_a_connection_that_breaks_is_made_anew(shop: Database, site: Site) -> None:
    mine = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'trails dashboard' AND datname = current_database()"
    )
    site.page("/")
    assert shop.sql(mine)
    shop.sql("SELECT pg_terminate_backend(pid) FROM (" + mine + ") found")
    site.page("/")
    site.page("/runs/1")


def test_a_database_that_has_gone_is_told_without_its_name(bare: Database, start: Start) -> None:
    site = start(dsn=bare.dsn())
    site.page("/")
    bare.server.sql("postgres", f"ALTER DATABASE {bare.name} ALLOW_CONNECTIONS false")
    bare.server.sql("postgres", f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{bare.name}'")
    for path in ("/runs/1", "/models/x"):
        answer = site.get(path)
        assert answer.status in (403, 503) and "cannot be reached" in Page(answer.text).text
        assert bare.server.socket_parameters()["host"] not in answer.text and bare.name not in answer.text
    assert "cannot be reached" in site.page("/").text
    bare.server.sql("postgres", f"ALTER DATABASE {bare.name} ALLOW_CONNECTIONS true")
    assert "There is no run" in site.page("/").text
    assert site.stop() == 0 and "Traceback" not in site.log


@pytest.mark.parametrize("arguments", [["--port", "x"], ["--port", "70000"], ["--timeout", "0"], ["--timeout", "x"]])
def test_bad_arguments_are_refused(arguments: list[str], capsys: Any) -> None:
    from trails.cli import main

    with pytest.raises(SystemExit) as ended:
        main(["dashboard", *arguments])
    assert ended.value.code == 2 and arguments[0] in capsys.readouterr().err
