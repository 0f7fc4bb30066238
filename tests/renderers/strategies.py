"""Any diagnosis the model allows: odd Unicode, refs that lead nowhere or in circles, nothing at all."""

from __future__ import annotations

from hypothesis import strategies as st

from doctor.model.bundle import Cost, Skipped
from doctor.model.diagnosis import DiagnosedProcess, DiagnosedTarget, Diagnosis, RuleError, Verdict
from doctor.model.finding import Finding, Location, Measurement

TRICKY = st.sampled_from(
    ["", "a b", "\x1b[31m", "[red]", "`", "\n", "\r\n", "\udcff", "\x9b", "\u202e", "<!here>", "\\", "_", "日本語" * 9]
)
text = st.lists(TRICKY | st.text(st.characters(), max_size=8), max_size=4).map("".join)
long_text = text | st.sampled_from(["x" * 500, "[`*_" * 150, "two words " * 60, "\x1b" * 300])
refs = st.sampled_from([f"f{n}" for n in range(8)])
ids = st.sampled_from(["deadlock", "fd-leak", "slow-dependency"]) | text
pids = st.integers(1, 2**22)
some_refs = st.lists(refs, max_size=3).map(tuple)

processes = {"pid": pids, "cmdline": st.lists(text, max_size=4).map(tuple), "python": st.none() | text}
locations = st.builds(
    Location, file=long_text, line=st.integers(0, 10**6), function=text, thread=st.none() | text, pid=pids
)
findings = st.builds(
    Finding,
    ref=refs,
    id=ids,
    title=long_text,
    explanation=text,
    subjects=st.just(()),
    measurements=st.dictionaries(text, st.builds(Measurement, value=st.floats(), unit=text), max_size=2),
    where=st.lists(locations, max_size=3).map(tuple),
    evidence=st.lists(long_text, max_size=6).map(tuple),
    causes=some_refs,
    effects=some_refs,
    playbook=st.none() | text,
    next=st.none() | long_text,
)
skips = st.builds(
    Skipped,
    collector=text,
    reason=long_text,
    remedy=long_text,
    pids=st.lists(pids, max_size=6).map(tuple),
    rules=st.lists(ids, max_size=5).map(tuple),
)
counts = st.integers(0, 2**63)
diagnoses = st.builds(
    Diagnosis,
    target=st.builds(
        DiagnosedTarget,
        host=text,
        children=st.lists(st.builds(DiagnosedProcess, **processes), max_size=3).map(tuple),
        **processes,
    ),
    verdict=st.builds(Verdict, summary=long_text, root_causes=some_refs),
    findings=st.lists(findings, max_size=6, unique_by=lambda finding: finding.ref).map(tuple),
    checked=st.lists(ids, max_size=5).map(tuple),
    skipped=st.lists(skips, max_size=5).map(tuple),
    rule_errors=st.lists(st.builds(RuleError, rule=text, error=long_text), max_size=3).map(tuple),
    cost=st.builds(Cost, bytes_read=counts),
)
