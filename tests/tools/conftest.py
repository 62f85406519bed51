import pytest

from tests.helpers.label_folders import Folders


@pytest.fixture
def folders(tmp_path):
    return Folders(tmp_path)
