"""Any sequence of what can be done to a journal, against a list that does the same."""

import hypothesis.strategies as st
from crash.fakefs import FakeDisk
from crash.journals import HOUR_NS, batch, ids_of, open_journal, read_all
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from spanledger.collector.journal import Journal


class JournalModel(RuleBasedStateMachine):
    """``appended`` is the model; ``stored`` of its first rows are behind the mark."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = FakeDisk()
        self.now_ns = 0
        self.appended: list[int] = []
        self.stored = 0
        self.journal = self.open()

    def open(self) -> Journal:
        return open_journal(self.disk, segment_bytes_max=2_500, clock_ns=lambda: self.now_ns)

    @rule(rows=st.integers(0, 5), text_bytes=st.sampled_from([0, 10, 500, 3_000]))
    def append(self, rows: int, text_bytes: int) -> None:
        first = len(self.appended)
        ids = range(first, first + rows)
        before = self.journal.mark if not first else self.journal.end
        after = self.journal.append(batch(ids, text_bytes))
        self.appended += ids
        assert self.journal.wait(before, 0) == (rows > 0)
        assert after == self.journal.end

    @rule(rows_max=st.integers(1, 12))
    def store(self, rows_max: int) -> None:
        batches, position = self.journal.read(self.journal.mark, rows_max)
        ids = ids_of(batches)
        assert ids == self.appended[self.stored : self.stored + len(ids)]
        assert len(ids) >= min(rows_max, len(self.appended) - self.stored)
        self.journal.move_mark(position)
        self.stored += len(ids)

    @rule(hours=st.integers(0, 3))
    def retire(self, hours: int) -> None:
        self.now_ns += hours * HOUR_NS
        size = self.journal.bytes
        retired = self.journal.retire()
        assert (self.journal.bytes < size) == (retired > 0)

    @rule()
    def reopen(self) -> None:
        self.journal.close()
        self.journal = self.open()

    @rule(data=st.data(), power_loss=st.booleans())
    def crash(self, data: st.DataObject, power_loss: bool) -> None:
        if power_loss:
            self.disk = data.draw(st.sampled_from(list(self.disk.crash_states())))
        else:
            self.disk.kill()
        self.journal = self.open()
        # A mark that was not yet saved is forgotten; what it let go is not.
        pending = read_all(self.journal, self.journal.mark)
        assert len(pending) >= len(self.appended) - self.stored
        self.stored = len(self.appended) - len(pending)

    @invariant()
    def everything_not_stored_is_pending_and_readable(self) -> None:
        pending = self.appended[self.stored :]
        assert self.journal.pending_rows == len(pending)
        assert read_all(self.journal, self.journal.mark) == pending
        retained = read_all(self.journal, self.journal.replay_position())
        assert retained == self.appended[len(self.appended) - len(retained) :]
        assert self.journal.rows_lost == self.journal.repairs == 0

    def teardown(self) -> None:
        self.journal.close()


TestJournalModel = JournalModel.TestCase
TestJournalModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
