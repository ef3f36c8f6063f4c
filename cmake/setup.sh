# shellcheck shell=bash
# Sourced in the root, by examples/run, tests/run and .ci/run. Takes what is there and installs only
# what is missing:
#
#   setup [PACKAGE=PATH...]      tools and LibTorch; packages wished for, there if a prefix has PATH
#   configure NAME [ARGUMENT...] sets build to build/NAME-torch-VERSION and runs CMake there
#
# With yes=1 nothing is asked before an installation, nor where there is no terminal.
# A LibTorch of one's own: CMAKE_PREFIX_PATH=/path/to/libtorch (or Torch_DIR) before the command.

say() { printf 'setup: %s\n' "$*" >&2; }

# The first of these commands that exists.
first() {
  local tool
  for tool; do command -v "$tool" && return; done
  return 1
}

# The first of these files that exists under a prefix of CMake's.
find_file() {
  local prefixes prefix file
  IFS=':;' read -ra prefixes <<<"${CMAKE_PREFIX_PATH:-}:/usr:/usr/local"
  for prefix in "${prefixes[@]}"; do
    for file; do
      if [[ $prefix && -e $prefix/$file ]]; then
        echo "$prefix/$file"
        return
      fi
    done
  done
  return 1
}

# The folder of TorchConfig.cmake: the environment's, that of the Python on PATH, the system's.
find_torch() {
  local prefixes prefix file python
  IFS=':;' read -ra prefixes <<<"${Torch_DIR:-}:${CMAKE_PREFIX_PATH:-}"
  if python=$(first python3 python); then
    prefix=$("$python" -c 'import torch; print(torch.utils.cmake_prefix_path)' 2>/dev/null) || :
    prefixes+=("$prefix")
  fi
  for prefix in "${prefixes[@]}" /usr /usr/local; do
    [[ $prefix ]] || continue
    for file in "$prefix"/{,Torch,{share,lib,lib/*}/cmake/Torch}/TorchConfig.cmake; do
      if [[ -f $file ]]; then
        dirname "$file"
        return
      fi
    done
  done
  return 1
}

can_install() { first apt-get >/dev/null && { ((EUID == 0)) || first sudo >/dev/null; }; }

install() {
  local as_root= answer=
  ((EUID == 0)) || as_root=sudo
  say "to be installed with ${as_root:+sudo }apt-get: $*"
  if [[ ! ${yes:-} && -t 0 ]]; then
    read -rp "setup: go on? [Y/n] " answer
    [[ $answer != [nN]* ]] || { say "nothing was installed" && exit 1; }
  fi
  $as_root apt-get update -qq
  $as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq --no-install-recommends "$@" >/dev/null
}

# Notes PACKAGE as missing unless WHAT was found.
need() {
  local what=$1 package=$2 found=$3
  if [[ $found ]]; then
    say "$what: $found"
  else
    missing+=("$package")
  fi
}

stop() {
  say "missing: ${missing[*]}. Type these two lines, then run this again:"
  case $(uname) in
    Darwin) echo "  xcode-select --install" ;;
    MINGW* | MSYS*) echo "  winget install Microsoft.VisualStudio.2022.BuildTools" ;;
    *) echo "  conda install -c conda-forge cxx-compiler   # or your system's C++17 compiler" ;;
  esac >&2
  echo "  python3 -m pip install cmake ninja torch" >&2
  exit 1
}

setup() {
  local missing=() wish
  need compiler g++ "$(first "${CXX:-}" c++ g++ clang++ cl)"
  need CMake cmake "$(first cmake)"
  need Ninja ninja-build "$(first ninja)"
  need LibTorch libtorch-dev "$(find_torch)"
  if ((${#missing[@]})); then
    can_install || stop
    install "${missing[@]}"
  fi
  torch=$(find_torch)

  missing=()
  for wish; do need "${wish%%=*}" "${wish%%=*}" "$(find_file "${wish#*=}")"; done
  if ((${#missing[@]})); then
    { can_install && install "${missing[@]}"; } || say "going on without ${missing[*]}"
  fi
  limit_jobs
}

# A unit that includes LibTorch takes up to 2 GB of memory to compile.
limit_jobs() {
  local cores memory
  # OMP_NUM_THREADS would be nproc's answer.
  cores=$(env -u OMP_NUM_THREADS nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 1)
  memory=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo 2>/dev/null) || :
  jobs=$((${memory:-100000000} / 2000000))
  if ((jobs >= cores)); then
    jobs=$cores
  else
    jobs=$((jobs > 0 ? jobs : 1))
    say "little memory: $jobs of $cores cores compile, 2 GB each"
  fi
}

configure() {
  local name=$1 version
  version=$(sed -n 's/^set(PACKAGE_VERSION "\(.*\)")/\1/p' "$torch/TorchConfigVersion.cmake")
  build=build/$name-torch-$version
  say "building in $build"
  cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DTorch_DIR="$torch" "${@:2}" >&2
}
