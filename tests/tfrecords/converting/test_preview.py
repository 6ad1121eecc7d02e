"""The contact sheet."""

import cv2
import numpy as np
import pytest

from tests.tfrecords import recording_files
from tfrecords import convert
from tfrecords.converting import drawing, preview
from tfrecords.datasets import ntu
from zoo.shared.errors import UserError


@pytest.fixture
def source(tmp_path):
    for activity in (1, 2, 2, 50):
        walk = recording_files.walk("kinect_v2_25")
        stem = f"S001C001P00{activity % 9}R001A{activity:03}"
        (tmp_path / f"{stem}.skeleton").write_text(recording_files.ntu_text({1: (0, walk)}))
        recording_files.write_video(tmp_path / f"{stem}_rgb.avi", recording_files.frames_of(walk))
    return ntu.NTU60(tmp_path, parts=("full_body", "right_hand"))


def test_boxes_joints_and_cuts(source, tmp_path):
    assert preview.contact_sheet(source, tmp_path / "sheet.png") == (3, 5)
    sheet = cv2.imread(str(tmp_path / "sheet.png"))[..., ::-1]
    row = preview.HEIGHT + preview.HEIGHT // 2 + 8
    assert sheet.shape == (3 * row, 5 * 320, 3)
    first = sheet[: preview.HEIGHT, :320].astype(int)

    def is_near(colour):
        return np.abs(first - colour).max(axis=-1) < 30

    drawn = np.rint(recording_files.project(recording_files.walk("kinect_v2_25")[1]) * 2).astype(int)
    for joint, colour in ((7, drawing.LEFT), (11, drawing.RIGHT), (3, drawing.MIDDLE)):
        x, y = drawn[joint]
        assert is_near(colour)[y - 2 : y + 3, x - 2 : x + 3].any()
    assert is_near(preview._BOXES["full_body"]).sum() > 200
    cuts = sheet[preview.HEIGHT : row - 8, :240]
    assert recording_files.is_body(cuts).mean() > 0.02


def test_one_clip(source, tmp_path):
    command = ["ntu60", "--source", str(source.folder), "--preview", str(tmp_path / "sheet.jpg")]
    assert convert.main([*command, "--clip", "S001C001P005R001A050"]) == 0
    assert cv2.imread(str(tmp_path / "sheet.jpg")).shape[0] == preview.HEIGHT * 3 // 2 + 8
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(UserError, match="no such clip"):
        convert.main([*command, "--clip", "S001C001P001R001A050"])
    with pytest.raises(UserError, match="--clip is an option of --preview"):
        convert.main(["ntu60", "--source", str(source.folder), "--dry-run", "--clip", "S001C001P005R001A050"])


@pytest.mark.parametrize(
    ("name", "parts", "reason"),
    [
        ("sheet.gif", ("full_body",), "expected the name of a .png or .jpg file"),
        ("none/sheet.png", ("full_body",), "cannot be written"),
    ],
)
def test_mistakes_of_the_user(source, tmp_path, name, parts, reason):
    source.parts = parts
    with pytest.raises(UserError, match=reason):
        preview.contact_sheet(source, tmp_path / name)


def test_poses_without_pictures(source, tmp_path, capsys):
    source.parts = ()
    assert preview.contact_sheet(source, tmp_path / "sheet.png", "S001C001P005R001A050") == (1, 5)
    assert capsys.readouterr().err == ""  # nothing is wrong with these poses
    sheet = cv2.imread(str(tmp_path / "sheet.png"))[..., ::-1].astype(int)
    assert sheet.shape == (preview.HEIGHT + 8, 5 * preview.WIDTH, 3)
    across = []  # where the left and the right arm and leg are, in the first frame and the last
    for column in (0, 4):
        frame = sheet[25 : preview.HEIGHT, column * preview.WIDTH : (column + 1) * preview.WIDTH]
        sides = [np.argwhere(np.abs(frame - colour).max(axis=-1) < 30) for colour in (drawing.LEFT, drawing.RIGHT)]
        assert all(preview.HEIGHT - 100 < np.ptp(pixels[:, 0]) < preview.HEIGHT - 48 for pixels in sides)
        across += [pixels[:, 1].mean() for pixels in sides]
    assert across[0] < across[1]  # x to the right
    assert across[0] < across[2]  # the person walks to the right, at the same scale


def test_nothing_to_draw(source, tmp_path):
    for path in tmp_path.glob("*.avi"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"no clip can be read \(S001C001P001R001A001: .*damaged or no video file"):
        preview.contact_sheet(source, tmp_path / "sheet.png")


def test_letters_beyond_ascii():
    def drawn(line, left, row=40):
        picture = np.full((60, 200, 3), 100, np.uint8)
        drawing.text(picture, line, (left, row), (255, 255, 255))
        return picture

    assert (drawn("Tür", 10) != drawn("Tör", 10)).any()
    letters, _ = np.nonzero(drawn("Tür", 10).min(axis=-1) > 200)
    assert letters.max() == 39  # they stand on the row
    assert (drawn("Tür", 10).max(axis=-1) < 50).any()  # the rim
    np.testing.assert_array_equal(drawn("Tür", -6)[:, :100], drawn("Tür", 10)[:, 16:116])  # cut off at the border
    np.testing.assert_array_equal(drawn("Tür", 10, 2)[:22], drawn("Tür", 10)[38:])
    np.testing.assert_array_equal(drawn("Tür", 300, -30), np.full((60, 200, 3), 100))
