# Finds TensorRT's runtime library and defines the target TensorRT::nvinfer, which links the CUDA runtime. TensorRT_ROOT
# may name the folder that holds include/ and lib/.
find_package(CUDAToolkit QUIET)
find_path(TensorRT_INCLUDE_DIR NvInfer.h)
find_library(TensorRT_LIBRARY NAMES nvinfer nvinfer_11 nvinfer_10)
mark_as_advanced(TensorRT_INCLUDE_DIR TensorRT_LIBRARY)

# NV_TENSORRT_MAJOR is a number; later versions define it as TRT_MAJOR_ENTERPRISE, which is the number.
if(TensorRT_INCLUDE_DIR)
  file(STRINGS "${TensorRT_INCLUDE_DIR}/NvInferVersion.h" defines REGEX "#define [A-Z_]*_(MAJOR|MINOR|PATCH)")
  foreach(part MAJOR MINOR PATCH)
    string(REGEX MATCH "#define (NV_TENSORRT|TRT)_${part}(_ENTERPRISE)? ([0-9]+)" _ "${defines}")
    list(APPEND version_parts ${CMAKE_MATCH_3})
  endforeach()
  list(JOIN version_parts "." TensorRT_VERSION)
  unset(version_parts)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TensorRT
  REQUIRED_VARS TensorRT_LIBRARY TensorRT_INCLUDE_DIR CUDAToolkit_FOUND
  VERSION_VAR TensorRT_VERSION)

if(TensorRT_FOUND AND NOT TARGET TensorRT::nvinfer)
  add_library(TensorRT::nvinfer UNKNOWN IMPORTED)
  set_target_properties(TensorRT::nvinfer PROPERTIES
    IMPORTED_LOCATION "${TensorRT_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${TensorRT_INCLUDE_DIR}"
    INTERFACE_LINK_LIBRARIES CUDA::cudart)
endif()
