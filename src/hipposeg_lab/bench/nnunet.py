"""nnU-Net v2: its own planner, preprocessor, loaders, network, loss, optimiser and predictor, on a CPU.

Only its loop over epochs is replaced: on a few cores the time ends before its first epoch of 250 steps. Its validation
steps are left out, because they take time. Isensee et al. 2021, doi:10.1038/s41592-020-01008-z.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch

from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold
from hipposeg.files import read_json, write_json
from hipposeg.training.machine import Machine
from hipposeg_lab.bench.system import in_bf16

DATASET_ID, DATASET = 4, "Dataset004_Hippocampus"
CONFIGURATION, PLANS = "3d_fullres", "nnUNetPlans"
FOLD, SEED = 0, 0


def configuration() -> dict[str, Any]:
    """What enters the cell's key."""
    return {"plans": PLANS, "configuration": CONFIGURATION, "fold": FOLD, "seed": SEED}


def prepare(cohort: Cohort, work: Path, cell: str, threads: int) -> None:
    """Set nnU-Net's folders (it reads these variables on import), and let it plan and preprocess the cohort, once.

    Its raw folder gets the stored images and the labels as this project reads them.
    """
    folders = {name: work / "nnunet" / name for name in ("nnUNet_raw", "nnUNet_preprocessed")}
    folders["nnUNet_results"] = work / "nnunet" / "nnUNet_results" / cell
    for name, folder in folders.items():
        folder.mkdir(parents=True, exist_ok=True)
        os.environ[name] = str(folder)
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api

    raw, preprocessed = (Path(os.environ[name]) / DATASET for name in ("nnUNet_raw", "nnUNet_preprocessed"))
    stamp = work / "nnunet" / "prepared.json"
    if not stamp.is_file() or read_json(stamp) != {"data": cohort.sha256}:
        shutil.rmtree(raw, ignore_errors=True)
        shutil.rmtree(preprocessed, ignore_errors=True)
        for name in ("imagesTr", "labelsTr"):
            (raw / name).mkdir(parents=True)
        for number, case in cohort.cases.items():
            image = cohort.folder / "imagesTr" / cohort.spec.file_name(number)
            shutil.copyfile(image, raw / "imagesTr" / f"{case.name}_0000.nii.gz")
            label = nibabel.Nifti1Image(case.label, case.affine, dtype=np.uint8)
            label.header.set_xyzt_units("mm")
            nibabel.save(label, raw / "labelsTr" / f"{case.name}.nii.gz")
        labels = {"background": 0} | {label.name: label.value for label in cohort.spec.labels}
        listing = {"channel_names": {"0": "MRI"}, "labels": labels, "numTraining": len(cohort.cases)}
        write_json(raw / "dataset.json", {**listing, "file_ending": ".nii.gz"})
        quiet = {"verbose": False, "show_progress_bar": False}
        api.extract_fingerprint_dataset(DATASET_ID, num_processes=threads, check_dataset_integrity=True, **quiet)
        api.plan_experiment_dataset(DATASET_ID)
        api.preprocess_dataset(DATASET_ID, PLANS, (CONFIGURATION,), [threads], **quiet)
        write_json(stamp, {"data": cohort.sha256})


def check_fold(theirs: Sequence[Sequence[str]], cohort: Cohort, ours: Fold) -> None:
    """Raise ValueError unless nnU-Net's training and test cases (names) are those of our fold (numbers)."""
    for part, names in zip(("train", "scored"), theirs, strict=True):
        wanted = [cohort.cases[number].name for number in ours[part]]
        if sorted(names) != sorted(wanted):
            raise ValueError(
                f"nnU-Net's {part} cases begin {sorted(names)[:3]}, ours {wanted[:3]}; expected the same. "
                "Remove .work/bench/nnunet and try again"
            )


class NNUNet:
    """nnU-Net in training, a `system`; volumes_per_step is its plan's batch of patches, passes all flips."""

    passes = 8

    def __init__(self, cohort: Cohort, fold: Fold, work: Path, machine: Machine, cell: str, bf16: bool) -> None:
        torch.set_num_threads(machine.threads)
        prepare(cohort, work, cell, machine.threads)
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

        np.random.seed(SEED)  # its loaders draw from numpy's global generator
        torch.manual_seed(SEED)
        preprocessed = Path(os.environ["nnUNet_preprocessed"]) / DATASET
        plans = read_json(preprocessed / f"{PLANS}.json") | {"continue_training": False}
        listing = read_json(preprocessed / "dataset.json")
        self.trainer = trainer = nnUNetTrainer(plans, CONFIGURATION, FOLD, listing, device=torch.device("cpu"))
        trainer.initialize()
        if bf16:
            in_bf16(trainer.network)
        trainer.on_train_start()
        check_fold(trainer.do_split(), cohort, fold)
        trainer.on_train_epoch_start()
        self.steps, self.share, self.cohort, self.volumes_per_step = 0, None, cohort, trainer.batch_size
        found = trainer.configuration_manager
        widths = found.network_arch_init_kwargs["features_per_stage"]
        self.plan = {"patch": list(found.patch_size), "batch": found.batch_size, "channels": list(widths)}
        self.predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
        self.predictor.manual_initialization(
            trainer.network, trainer.plans_manager, found, None, listing, type(trainer).__name__,
            trainer.inference_allowed_mirroring_axes,
        )  # fmt: skip

    def spend(self, share: float) -> None:
        """Its polynomial decay, by the fraction of the training time instead of its 1000 epochs."""
        self.share = share
        self.trainer.lr_scheduler.step(share * self.trainer.num_epochs)

    def step(self) -> None:
        """Its own step on its own loader's next batch; as released, the rate decays with its own epochs."""
        if self.share is None:
            self.trainer.lr_scheduler.step(self.steps // self.trainer.num_iterations_per_epoch)
        self.steps += 1
        if not self.trainer.network.training:
            self.trainer.network.train()
            self.trainer.set_deep_supervision_enabled(True)
        self.trainer.train_step(next(self.trainer.dataloader_train))

    def loaded(self, case: int) -> tuple[np.ndarray, dict[str, Any]]:
        """Image (C, Z, Y, X) and properties, by its own reader. Raises ValueError unless its axes are ours reversed."""
        known = self.cohort.cases[case]
        path = Path(os.environ["nnUNet_raw"]) / DATASET / "imagesTr" / f"{known.name}_0000.nii.gz"
        voxels, properties = self.trainer.plans_manager.image_reader_writer_class().read_images([str(path)])
        if not np.array_equal(voxels.transpose(0, 3, 2, 1), known.image):
            raise ValueError(
                f"{known.name}: nnU-Net's reader gives {voxels.shape}, not our {known.image.shape} with its axes "
                "reversed; its masks could not be scored. Install the locked versions: `make bench`"
            )
        return voxels, properties

    def predict(self, image: tuple[np.ndarray, dict[str, Any]], mirrored: bool = True) -> np.ndarray:
        """The mask, uint8 (X, Y, Z): preprocessing, sliding window, mirroring and export as released."""
        self.trainer.network.eval()
        self.trainer.set_deep_supervision_enabled(False)
        self.predictor.use_mirroring = mirrored
        self.predictor.list_of_parameters = [self.trainer.network.state_dict()]
        mask = self.predictor.predict_single_npy_array(image[0], dict(image[1]))
        return np.ascontiguousarray(np.asarray(mask).T, dtype=np.uint8)  # its readers give (Z, Y, X)

    def close(self) -> None:
        """End its loaders' processes."""
        for loader in (self.trainer.dataloader_train, self.trainer.dataloader_val):
            if hasattr(loader, "_finish"):
                loader._finish()
