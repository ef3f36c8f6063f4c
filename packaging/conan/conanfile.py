"""conan create packaging/conan -s compiler.cppstd=20, with LibTorch in the environment's CMAKE_PREFIX_PATH:
it is the consumer's own, from pip, Debian or the zip."""

import os
import re

from conan import ConanFile
from conan.tools.cmake import CMake, CMakeToolchain
from conan.tools.files import copy, load

ROOT = os.path.join("..", "..")


class Torchreg(ConanFile):
    name = "torchreg"
    license = "BSD-3-Clause"
    description = "Regularization for LibTorch: penalties, constraints, true zeros"
    topics = ("libtorch", "pytorch", "regularization", "sparsity", "lasso", "header-only")
    package_type = "header-library"
    settings = "os", "compiler", "build_type", "arch"
    no_copy_source = True

    def set_version(self):
        header = load(self, os.path.join(self.recipe_folder, ROOT, "include/torchreg/version.hpp"))
        self.version = ".".join(re.findall(r"VERSION_\w+ (\d+)", header))

    def export_sources(self):
        for what in ("CMakeLists.txt", "LICENSE", "cmake/*", "include/*"):
            copy(self, what, os.path.join(self.recipe_folder, ROOT), self.export_sources_folder)

    def generate(self):
        toolchain = CMakeToolchain(self)
        toolchain.cache_variables["TORCHREG_BUILD_TESTS"] = False
        toolchain.cache_variables["TORCHREG_BUILD_EXAMPLES"] = False
        toolchain.generate()

    def build(self):
        CMake(self).configure()

    def package(self):
        CMake(self).install()
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))

    def package_id(self):
        self.info.clear()

    def package_info(self):
        # The package's own torchregConfig.cmake finds LibTorch, as no generated one would.
        self.cpp_info.set_property("cmake_find_mode", "none")
        self.cpp_info.builddirs = [os.path.join("share", "cmake", "torchreg")]
        self.cpp_info.bindirs = self.cpp_info.libdirs = []
