"""Scans in each file format, headers that must be refused, and masks on the scan's grid."""

import gzip
import tracemalloc
import warnings

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hipposeg.data.spec import DataError
from hipposeg.predict.scan import read, save_labels

IMAGE = np.random.default_rng(0).normal(100, 30, (20, 22, 18)).astype(np.float32)
AFFINE = np.array([[-1.1, 0.1, 0, 90], [0.11, 1, 0, -80], [0, 0, 1.3, -50], [0, 0, 0, 1]])
TURNED = np.array([[0.0, 0, 1.3, -50], [-1.1, 0, 0, 90], [0, -1, 0, 80], [0, 0, 0, 1]])


def nifti(path, image=IMAGE, affine=AFFINE, codes=(1, 1), kind=nibabel.Nifti1Image, **fields):
    out = kind(image, affine)
    out.set_sform(affine, codes[0])
    out.set_qform(affine, codes[1])
    out.header["descrip"] = b"a name"
    content = out.to_bytes()
    size = int(out.header["sizeof_hdr"])
    header = kind.header_class(content[:size])
    for name, value in fields.items():
        header[name] = value
    content = header.binaryblock + content[size:]
    path.write_bytes(gzip.compress(content) if path.name.lower().endswith("gz") else content)
    return path


def itk(path, compressed):
    import SimpleITK as sitk  # noqa: N813

    image = sitk.GetImageFromArray(IMAGE.T)
    lps = np.diag((-1, -1, 1, 1)) @ TURNED
    sizes = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetDirection((lps[:3, :3] / sizes).ravel())
    image.SetSpacing(sizes)
    image.SetOrigin(lps[:3, 3])
    sitk.WriteImage(image, str(path), compressed)
    return path


def same(scan, affine):
    np.testing.assert_array_equal(scan.image, IMAGE)
    np.testing.assert_allclose(scan.affine, affine, atol=1e-4)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "A.NII.GZ", "wrong.mgz"])
@pytest.mark.parametrize("codes", [(1, 1), (2, 0), (0, 1)])
def test_nifti_and_labels_on_its_grid(tmp_path, kind, name, codes):
    with warnings.catch_warnings(action="error"):  # such as NumPy's about the arc of a cosine above 1
        scan = read(nifti(tmp_path / name, IMAGE[..., None], codes=codes, kind=kind, xyzt_units=2))
    same(scan, AFFINE)
    assert scan.notes == () and np.allclose(scan.spacing, np.linalg.norm(AFFINE[:3, :3], axis=0), atol=1e-4)
    labels = (IMAGE > 100).astype(np.uint8)
    for target in ("one.nii.gz", "two.nii.gz", "three.nii"):
        save_labels(tmp_path / target, labels, scan)
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "two.nii.gz").read_bytes()
    mask = nibabel.load(tmp_path / "three.nii")
    np.testing.assert_array_equal(np.asarray(mask.dataobj), labels)
    assert type(mask) is kind and mask.get_data_dtype() == np.uint8 and mask.header["descrip"].item() == b""
    assert (mask.header["sform_code"], mask.header["qform_code"], mask.header["xyzt_units"]) == (*codes, 2)
    np.testing.assert_array_equal(mask.affine, scan.affine)


@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd"])
@pytest.mark.parametrize("compressed", [False, True])
def test_nrrd_and_metaimage(tmp_path, name, compressed):
    path = itk(tmp_path / name, compressed)
    same(read(path), TURNED)
    data = max(tmp_path.iterdir(), key=lambda one: one.stat().st_size)
    content = data.read_bytes()
    data.write_bytes(content[:-3000] + bytes(2000) + content[-1000:] if compressed else content[:-9])
    with pytest.raises(DataError, match="damaged or truncated"):
        read(path)


def test_mgh_and_labels(tmp_path):
    nibabel.save(nibabel.MGHImage(IMAGE, TURNED), tmp_path / "a.mgz")
    scan = read(tmp_path / "a.mgz")
    same(scan, TURNED)
    save_labels(tmp_path / "mask.nii.gz", np.ones(IMAGE.shape, np.uint8), scan)
    mask = nibabel.load(tmp_path / "mask.nii.gz")
    np.testing.assert_allclose(mask.get_qform(), TURNED, atol=1e-4)
    assert (mask.header["sform_code"], mask.header["qform_code"]) == (1, 1)
    content = bytearray(gzip.decompress((tmp_path / "a.mgz").read_bytes()))
    content[28:30] = bytes(2)  # "good RAS flag"
    (tmp_path / "b.mgz").write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match="found no orientation"):
        read(tmp_path / "b.mgz")


def holes(share, value=np.nan):
    image = IMAGE.copy()
    image.flat[: int(share * image.size)] = value
    return image


SHEARED, THICK = AFFINE @ (np.eye(4) + np.diag((0.1, 0, 0), 1)), AFFINE @ np.diag((1, 1, 4, 1))


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("constant image", {"image": np.ones_like(IMAGE)}),
        ("only 5 different values.*label map", {"image": np.rint(IMAGE * 0 + np.arange(18) % 5)}),
        ("infinite", {"image": holes(0.01, np.inf)}),
        ("NaN voxels", {"image": holes(0.7)}),
        ("NaN voxels", {"image": holes(0.6)}),
        ("4-D 20 x 22 x 18 x 2 .*Save the T1", {"image": np.stack([IMAGE] * 2, -1)}),
        ("complex64", {"image": IMAGE.astype(np.complex64)}),
        ("no orientation.*Left and right are unknown", {"codes": (0, 0)}),
        ("of .* metres", {"xyzt_units": 1}),
        ("of .* micrometres", {"xyzt_units": 3}),
        ("voxel sizes of 0 x 1 x 1", {"pixdim": [1, 0, 1, 1, 1, 1, 1, 1]}),
        ("voxel sizes of 1 x inf x 1", {"pixdim": [1, 1, np.inf, 1, 1, 1, 1, 1]}),
        ("only 15 different values", {"image": np.arange(IMAGE.size).reshape(IMAGE.shape) % 15.0}),
        ("voxels of 1 x 1 x 3.5 mm, expected at most 3 mm", {"affine": np.diag((1, 1, 3.5, 1))}),
        ("voxel sizes of 1 x 0 x 1", {"pixdim": [1, 1, 0, 1, 1, 1, 1, 1]}),
        ("finite positions", {"srow_x": [-1, 0, 0, np.nan]}),
        ("finite positions", {"srow_z": [0, 0, 0, 0]}),
        ("degrees, expected right angles", {"affine": SHEARED, "codes": (1, 0)}),
        ("voxels of .* x 5.2 mm, expected at most 3 mm.*too small", {"affine": THICK}),
        ("disagree about left and right", {"srow_x": [1.1, -0.1, 0, -90]}),
        ("one half of an .hdr/.img pair", {"magic": b"ni1"}),
    ],
)
def test_refused(tmp_path, message, options):
    path = nifti(tmp_path / "bad.nii.gz", **options)
    with pytest.raises(DataError, match=f"bad.nii.gz: found .*(?:{message})"):
        read(path)


def test_notes(tmp_path):
    scan = read(nifti(tmp_path / "a.nii", holes(0.3)))
    assert "NaN voxels (30%)" in scan.notes[0] and scan.image.min() == np.nanmin(holes(0.3))
    assert "differ by up to 5.0 mm and 0.0 degrees; the sform" in read(nifti(tmp_path / "a", qoffset_z=-45)).notes[0]
    assert "voxel sizes differ" in read(nifti(tmp_path / "c", codes=(1, 0), pixdim=[1, 1, 1.5, 1, 1, 1, 1, 1])).notes[0]


def turned(degrees, axis="x"):
    """AFFINE with its axes turned about one of space."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
    return affine @ AFFINE


def two_forms(path, sform, qform):
    image = nibabel.Nifti1Image(IMAGE, AFFINE)
    image.set_sform(sform, 1)
    image.set_qform(qform, 1)
    image.to_filename(path)
    return read(path).notes


def test_doubts_about_two_forms_by_hand(tmp_path):
    path = tmp_path / "a.nii"
    corners = np.stack(np.meshgrid(*[(0, side - 1) for side in IMAGE.shape], [1], indexing="ij"), -1).reshape(8, 4)
    pairs = [
        (turned(1.5), AFFINE),
        (turned(20, "y"), turned(5, "y")),
        (AFFINE, turned(-3, "z")),
        (turned(30, "y"), turned(9)),
    ]
    for sform, qform in pairs:
        found = two_forms(path, sform, qform)
        far = np.linalg.norm((corners @ (sform - qform).T)[:, :3], axis=1).max()
        axes = [one[:3, :3] / np.linalg.norm(one[:3, :3], axis=0) for one in (sform, qform)]
        angle = max(np.degrees(np.arccos(axes[0][:, i] @ axes[1][:, i])) for i in range(3))
        assert found == (
            f"sform and qform differ by up to {far:.1f} mm and {angle:.1f} degrees; the sform is used, as by nibabel",
        )
    centre = np.eye(4)
    centre[:3, 3] = (AFFINE @ (*(np.array(IMAGE.shape) - 1) / 2, 1))[:3]
    about = centre @ turned(1.5) @ np.linalg.inv(AFFINE) @ np.linalg.inv(centre) @ AFFINE
    assert "0.4 mm and 1.5 degrees" in two_forms(path, about, AFFINE)[0], "turned about its centre: 15 mm times 0.026"
    moved = AFFINE.copy()
    moved[:3, 3] += (0.9, 0, 0)
    assert two_forms(path, moved, AFFINE) == ()
    moved[:3, 3] += (0.2, 0, 0)
    assert "differ by up to 1.1 mm and 0.0 degrees" in two_forms(path, moved, AFFINE)[0]
    # A little shear is allowed, and no mirror; 40 degrees apart are no other side, 50 degrees are.
    assert two_forms(path, AFFINE @ (np.eye(4) + np.diag((0.008, 0, 0), 1)), AFFINE) == ()
    assert "40" in two_forms(path, turned(40, "z"), AFFINE)[0]
    with pytest.raises(DataError, match="disagree about left and right"):
        two_forms(path, turned(50, "z"), AFFINE)


def test_voxel_sizes_at_their_limits(tmp_path):
    for sizes, note in (((1, 1, 3), None), ((0.9, 1, 2.8), "long in one direction"), ((0.3, 0.3, 0.3), None),
                        ((0.29, 0.5, 0.5), "unusually small")):  # fmt: skip
        notes = read(nifti(tmp_path / "a.nii", affine=np.diag((*sizes, 1)))).notes
        assert len(notes) == bool(note) and all(note in one for one in notes)


def test_one_slice_and_sixteen_values_are_a_scan_still(tmp_path):
    assert read(nifti(tmp_path / "a.nii", IMAGE[..., :1])).image.shape == (20, 22, 1)
    assert read(nifti(tmp_path / "a.nii", np.arange(IMAGE.size).reshape(IMAGE.shape) % 16.0)).notes == ()
    large = (np.arange(60**3) // 2 % 15).reshape(60, 60, 60).astype(np.float32)
    large.flat[1] = 15  # between the voxels that are looked at first
    assert read(nifti(tmp_path / "a.nii", large)).notes == ()


def test_damaged_or_other_files(tmp_path):
    content = nifti(tmp_path / "a.nii.gz").read_bytes()
    for bad in (content[:-1], content[: len(content) // 2], content[:-6] + b"ab" + content[-4:]):
        (tmp_path / "a.nii.gz").write_bytes(bad)
        with pytest.raises(DataError, match="damaged or truncated"):
            read(tmp_path / "a.nii.gz")
    nibabel.save(nibabel.AnalyzeImage(IMAGE, np.diag((-1, 1, 1, 1))), tmp_path / "old.img")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "text.nii").write_text("text")
    messages = {
        "old.hdr": "pair",
        "folder/text.nii": "another kind",
        "none": "no such file",
        "folder": "no DICOM image",
    }
    for name, message in messages.items():
        with pytest.raises(DataError, match=message):
            read(tmp_path / name)


def test_a_file_that_claims_more_than_a_scan_has_costs_no_memory(tmp_path):
    """Headers with 60,000 voxels a side, and a little gzip that unpacks to 128 MiB."""
    small = nifti(tmp_path / "a.nii").read_bytes()
    sides = np.array([3, 20_000, 20_000, 20_000, 1, 1, 1, 1], "<i2").tobytes()
    claims = small[:40] + sides + small[56:]
    second = nifti(tmp_path / "b.nii", kind=nibabel.Nifti2Image).read_bytes()
    far = second[:16] + np.array([3, 60_000, 60_000, 60_000, 1, 1, 1, 1], "<i8").tobytes() + second[80:]
    nibabel.save(nibabel.MGHImage(IMAGE, TURNED), tmp_path / "c.mgh")
    mgh = (tmp_path / "c.mgh").read_bytes()
    mgh = mgh[:4] + np.array([60_000] * 3, ">i4").tobytes() + mgh[16:]
    nrrd = itk(tmp_path / "d.nrrd", True).read_bytes().replace(b"sizes: 20 22 18", b"sizes: 60000 60000 60000")
    meta = itk(tmp_path / "e.mha", True).read_bytes().replace(b"DimSize = 20 22 18", b"DimSize = 60000 60000 60000")
    bomb = gzip.compress(small + bytes(1 << 27), 1)
    contents = {"claims": claims, "packed": gzip.compress(claims), "far": far, "mgh": mgh, "nrrd": nrrd, "meta": meta}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    words = dict.fromkeys(contents, r"header claims \d{13,15} voxels, more than the 268435456")
    words["bomb"] = "unpacks to more than"
    (tmp_path / "bomb").write_bytes(bomb)
    (tmp_path / "zeros").write_bytes(gzip.compress(bytes(1 << 27), 1))
    tracemalloc.start()
    for name, message in words.items():
        with pytest.raises(DataError, match=f"{name}: found a damaged or truncated file .*{message}"):
            read(tmp_path / name)
    with pytest.raises(DataError, match="zeros: found another kind of file"):
        read(tmp_path / "zeros")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 32 << 20


def test_tags_behind_the_voxels_are_no_bomb_and_missing_voxels_are_named(tmp_path):
    path = nifti(tmp_path / "a.nii.gz")
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content + bytes(1000)))
    same(read(path), AFFINE)
    path.write_bytes(gzip.compress(content[:-9]))
    with pytest.raises(DataError, match=f"holds {len(content) - 9} bytes of the {len(content)} that its header claims"):
        read(path)
