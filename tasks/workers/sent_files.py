"""What a flow has sent of its files: the prepared data and the user's code, as all jobs of a sweep name them."""

import logging
import pickle
from dataclasses import replace

from nightune.models.kept_code import KeptCode, kept_code
from nightune.tasks.setting import Setting
from nightune.tasks.workers.job import Job
from nightune.tasks.workers.parcels import upload
from nightune.tasks.workers.travel import Travelling, code_parcel, data_parcel

logger = logging.getLogger("nightune")


class SentFiles:
    """The parcels of a sweep: packed once, copied to the tracking server if a worker needs that, and kept complete."""

    def __init__(self, setting: Setting) -> None:
        code = kept_code()
        self._setting = setting
        self.data, self.code = data_parcel(setting), code_parcel(setting, code)
        self._files_of_code = code.count

    def message_of(self, job: Job) -> bytes:
        """Return a job as it travels: its code and data are in the parcels."""
        self._add_later_code()
        return pickle.dumps(Travelling(replace(job, code=KeptCode()), self.data, self.code))

    def bring_to_others(self) -> None:
        """Copy data and code to the sweep's artifacts, once, for a worker that does not see the flow's folder."""
        if self.data.run_id:
            return
        store, run = self._setting.store, self._setting.sweep.run_id
        logger.info("data and code are copied to the tracking server: a worker does not see %s", store.root)
        for parcel in (self.data, self.code):
            upload(parcel, store, run)
        self.data, self.code = replace(self.data, run_id=run), replace(self.code, run_id=run)

    def _add_later_code(self) -> None:
        """Put the code together again where the flow has kept more since, for functions that a later round uses."""
        code = kept_code()
        if code.count == self._files_of_code:
            return
        self.code = replace(code_parcel(self._setting, code, self.code.folder), run_id=self.code.run_id)
        if self.code.run_id:
            upload(self.code, self._setting.store, self.code.run_id)
        self._files_of_code = code.count
