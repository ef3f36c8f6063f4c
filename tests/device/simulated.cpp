#include "device/simulated.hpp"

#include <ATen/native/CPUFallback.h>
#include <ATen/native/TensorFactories.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#if __has_include(<ATen/detail/PrivateUse1HooksInterface.h>)
#include <ATen/detail/PrivateUse1HooksInterface.h>
#define SIMULATED_HAS_HOOKS
#endif

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

namespace simulated {

Counts& counts() {
  static Counts counts;
  return counts;
}

void reset() {
  counts().doubles = 0;
  counts().launches = 0;
  counts().peak = counts().bytes;
  counts().by_name.clear();
}

namespace {

using torch::Tensor;

void count(const std::string& name) {
  ++counts().launches;
  ++counts().by_name[name];
}

void check_may_read() {
  TORCH_CHECK(counts().may_read, "simulated device: the host reads an entry");
}

/// Memory of the host, counted: its size stands in front of it.
struct Memory final : c10::Allocator {
  static constexpr std::size_t kHeader = 64;

  static void free_block(void* pointer) {
    if (pointer == nullptr) return;
    char* block = static_cast<char*>(pointer) - kHeader;
    counts().bytes -= *reinterpret_cast<int64_t*>(block);
    std::free(block);
  }

  c10::DataPtr make(std::size_t size) const {
    if (size == 0) return {nullptr, nullptr, &free_block, device()};
    TORCH_CHECK(counts().bytes + static_cast<int64_t>(size) <= counts().room,
                "simulated device: out of memory");
    char* block =
        static_cast<char*>(std::aligned_alloc(kHeader, (size + 2 * kHeader) / kHeader * kHeader));
    *reinterpret_cast<int64_t*>(block) = static_cast<int64_t>(size);
    counts().bytes += static_cast<int64_t>(size);
    counts().peak = std::max(counts().peak, counts().bytes);
    return {block + kHeader, block + kHeader, &free_block, device()};
  }

#if __has_include(<c10/core/CachingDeviceAllocator.h>)
  c10::DataPtr allocate(std::size_t size) override { return make(size); }
  void copy_data(void* to, const void* from, std::size_t size) const override {
    default_copy_data(to, from, size);
  }
#else
  c10::DataPtr allocate(std::size_t size) const override { return make(size); }
#endif
  c10::DeleterFnPtr raw_deleter() const override { return &free_block; }
};

Memory memory;
const bool is_set = (c10::SetAllocator(kType, &memory), true);

/// One device with one stream, which is done with everything at once.
struct Guard final : c10::impl::DeviceGuardImplInterface {
  static c10::Stream stream() { return c10::Stream(c10::Stream::DEFAULT, device()); }
  c10::DeviceType type() const override { return kType; }
  c10::Device exchangeDevice(c10::Device) const override { return device(); }
  c10::Device getDevice() const override { return device(); }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const noexcept override { return stream(); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return stream(); }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void**, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, c10::DeviceIndex) const noexcept override {}
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {}
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

#ifdef SIMULATED_HAS_HOOKS
/// What newer LibTorch asks of a device in backward(); 2.6 asks the last one alone.
struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const { return true; }
  bool isAvailable() const { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const { return false; }
};

const bool has_hooks = [] {
  static Hooks hooks;
  at::RegisterPrivateUse1HooksInterface(&hooks);
  c10::register_privateuse1_backend("simulated");
  return true;
}();
#endif

/// The same memory, as a tensor of the CPU's.
Tensor on_host(const Tensor& x) {
  if (!x.defined() || x.device().type() != kType) return x;
  const auto options = x.options().device(torch::kCPU).requires_grad(false);
  if (x.numel() == 0) return torch::empty_strided(x.sizes(), x.strides(), options);
  return torch::from_blob(x.data_ptr(), x.sizes(), x.strides(), options);
}

Tensor empty_strided(at::IntArrayRef sizes, at::IntArrayRef strides,
                     c10::optional<c10::ScalarType> type, c10::optional<c10::Layout>,
                     c10::optional<c10::Device>, c10::optional<bool>) {
  counts().doubles += c10::dtype_or_default(type) == torch::kDouble;
  return at::detail::empty_strided_generic(sizes, strides, &memory,
                                           c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           c10::dtype_or_default(type));
}

Tensor empty(at::IntArrayRef sizes, c10::optional<c10::ScalarType> type, c10::optional<c10::Layout>,
             c10::optional<c10::Device>, c10::optional<bool>,
             c10::optional<c10::MemoryFormat> format) {
  counts().doubles += c10::dtype_or_default(type) == torch::kDouble;
  return at::detail::empty_generic(sizes, &memory,
                                   c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   c10::dtype_or_default(type), format);
}

Tensor copy_from(const Tensor& from, const Tensor& to, bool) {
  if (to.is_cpu()) check_may_read();
  count("copy_");
  on_host(to).copy_(on_host(from));
  return to;
}

at::Scalar read(const Tensor& x) {
  check_may_read();
  return on_host(x).item();
}

/// Where the operation has given its output a size.
void take_size(const Tensor& out, const Tensor& result) {
  if (out.sizes() == result.sizes()) return;
  const Tensor sized = torch::empty_strided(result.sizes(), result.strides(), out.options());
  on_host(sized).copy_(result);
  out.unsafeGetTensorImpl()->set_storage_keep_dtype(sized.storage());
  out.unsafeGetTensorImpl()->set_sizes_and_strides(sized.sizes(), sized.strides());
}

/// Any other operation, on the CPU. What it returns lies on the device; what it writes to does.
void carry_out(const c10::OperatorHandle& operation, torch::jit::Stack* stack) {
  const auto& schema = operation.schema();
  count(operation.operator_name().name);
  const std::size_t arguments = schema.arguments().size();
  const std::size_t first = stack->size() - arguments;
  std::vector<c10::IValue> before(stack->begin() + static_cast<std::ptrdiff_t>(first),
                                  stack->end());
  for (std::size_t i = 0; i < arguments; ++i) {
    c10::IValue& value = (*stack)[first + i];
    if (value.isTensor()) {
      value = on_host(value.toTensor());
    } else if (value.isTensorList()) {
      std::vector<Tensor> list;
      for (const Tensor& x : value.toTensorVector()) list.push_back(on_host(x));
      value = list;
    } else if (value.isList() && value.toListRef().size() > 0 && value.toListRef()[0].isTensor()) {
      c10::List<c10::optional<Tensor>> list;
      for (const c10::IValue& x : value.toListRef()) list.push_back(on_host(x.toTensor()));
      value = list;
    } else if (value.isDevice()) {
      value = torch::Device(torch::kCPU);
    }
  }
  // LibTorch 1.13 returns two outputs by references to arguments that it has dropped by then.
  const std::vector<c10::IValue> held(stack->begin() + static_cast<std::ptrdiff_t>(first),
                                      stack->end());
  operation.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  const std::size_t returns = schema.returns().size();
  for (std::size_t i = 0; i < returns; ++i) {
    c10::IValue& value = (*stack)[stack->size() - returns + i];
    const auto* alias = schema.returns()[i].alias_info();
    if (alias != nullptr && alias->isWrite()) {
      for (std::size_t k = 0; k < arguments; ++k) {
        const auto* of_argument = schema.arguments()[k].alias_info();
        if (of_argument == nullptr || !(*of_argument == *alias)) continue;
        if (value.isTensor()) take_size(before[k].toTensor(), value.toTensor());
        value = before[k];
      }
    } else if (value.isTensor() && value.toTensor().defined()) {
      const Tensor result = value.toTensor();
      const Tensor out =
          torch::empty_strided(result.sizes(), result.strides(), result.options().device(device()));
      on_host(out).copy_(result);
      value = out;
    } else if (value.isTensorList()) {
      std::vector<Tensor> list;
      for (const Tensor& x : value.toTensorVector()) {
        list.push_back(torch::empty_strided(x.sizes(), x.strides(), x.options().device(device())));
        on_host(list.back()).copy_(x);
      }
      value = list;
    }
  }
}

}  // namespace
}  // namespace simulated

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&simulated::carry_out>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", &simulated::empty);
  m.impl("empty_strided", &simulated::empty_strided);
  m.impl("_copy_from", &simulated::copy_from);
  m.impl("_local_scalar_dense", &simulated::read);
  m.impl("as_strided", &at::native::as_strided_tensorimpl);
  m.impl("view",
         static_cast<at::Tensor (*)(const at::Tensor&, at::IntArrayRef)>(&at::native::view));
  m.impl("_reshape_alias", &at::native::_reshape_alias);
  // One launch each, where LibTorch's own do for any device by a loop.
  const auto one = [&](const char* name) {
    m.impl(name, torch::CppFunction::makeFromBoxedFunction<&simulated::carry_out>());
  };
  one("_foreach_zero_");
  one("_foreach_add_.List");
  one("_foreach_add_.Scalar");
#if __has_include(<ATen/ops/_foreach_copy.h>)
  one("_foreach_copy_");
#endif
}
